"""LoCoMo (Maharana et al., 2024): ten long conversations between two people, over many sessions.

As the field evaluates retrieval on it: categories 1 to 4, pairs of turns as segments, image captions included,
evidence ids repaired where malformed. The data is CC BY-NC: it is read from a path and never kept.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter

from evoembedding.evaluation.benchmarks.benchmark import Benchmark
from evoembedding.schemas.benchmark import BenchmarkData, Conversation, Query
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.text import clean

CATEGORIES = {1: "multi_hop", 2: "temporal", 3: "open_domain", 4: "single_hop"}  # 5, adversarial, has no answer
_SESSION = re.compile(r"session_([0-9]{1,6})")
_TURN_ID = re.compile(r"D:?([0-9]{1,6}):([0-9]{1,6})")  # "D:11:26" and "D8:6; D9:17" occur


def _several(value: Any) -> Any:
    """Evidence as one string holds its ids as well as a list does; null is none."""
    return [value] if isinstance(value, str) else [] if value is None else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a category is a number")
    return value


Text = Annotated[str, AfterValidator(clean)]
Said = Annotated[Text, BeforeValidator(lambda value: "" if value is None else value)]


class _Turn(BaseModel):
    speaker: Text
    dia_id: Annotated[str, Field(pattern=_TURN_ID)]
    text: Said = ""  # null where only a picture was sent
    blip_caption: Said = ""

    @property
    def number(self) -> tuple[int, int]:
        return _turn_ids(self.dia_id)[0]

    @property
    def utterance(self) -> str:
        caption = f" [image: {self.blip_caption}]" if self.blip_caption else ""
        return f"{self.speaker}\n{self.text}{caption}" if self.text else f"{self.speaker}\n{caption.strip()}"


class _Asked(BaseModel):
    question: Annotated[Text, Field(min_length=1)]
    category: Annotated[int, BeforeValidator(_number), Field(ge=1, le=5)]
    evidence: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()


class _Sample(BaseModel):
    sample_id: Annotated[str, Field(coerce_numbers_to_str=True)]
    conversation: dict[str, Any]
    qa: tuple[_Asked, ...]


_SAMPLES = TypeAdapter(tuple[_Sample, ...])
_SESSIONS = TypeAdapter(dict[str, tuple[_Turn, ...]])
_TIMES = TypeAdapter(dict[str, Text])


def read_locomo(path: Path) -> BenchmarkData:
    """Read `locomo10.json`. Questions of categories 1 to 4 whose evidence is not in the conversation are left out.

    Raises:
        pydantic.ValidationError: the file is not LoCoMo.
        OSError, ValueError, RecursionError: it cannot be read, or is no JSON.
    """
    samples = _SAMPLES.validate_python(json.loads(path.read_text(encoding="utf-8-sig")))
    read = [_conversation(sample) for sample in samples]
    return BenchmarkData(
        name="locomo",
        conversations=tuple(conversation for conversation, _ in read),
        left_out=sum(left_out for _, left_out in read),
    )


LOCOMO = Benchmark(
    "locomo",
    "LoCoMo",
    "ten long conversations between two people",
    lambda given: read_locomo(given.file),
    file="locomo10.json",
)


def _conversation(sample: _Sample) -> tuple[Conversation, int]:
    segments, pair_of = _segments(sample.conversation)
    queries, left_out = [], 0
    for asked in sample.qa:
        if asked.category not in CATEGORIES:
            continue
        ids = {turn for text in asked.evidence for turn in _turn_ids(text)}
        gold = tuple(sorted({pair_of[turn] for turn in ids if turn in pair_of}))
        if gold:
            queries.append(Query(text=asked.question, gold=gold, question_type=CATEGORIES[asked.category]))
        else:
            left_out += 1
    conversation = Conversation(conversation_id=sample.sample_id, segments=tuple(segments), queries=tuple(queries))
    return conversation, left_out


def _segments(conversation: dict[str, Any]) -> tuple[list[Segment], dict[tuple[int, int], int]]:
    """Pairs of turns within each session, and (session, turn number) -> pair."""
    segments: list[Segment] = []
    pair_of: dict[tuple[int, int], int] = {}
    numbers = {int(found[1]): key for key in conversation if (found := _SESSION.fullmatch(key))}
    sessions = _SESSIONS.validate_python({key: conversation[key] for key in numbers.values()})
    times = _TIMES.validate_python({f"{key}_date_time": conversation.get(f"{key}_date_time") for key in sessions})
    for _, key in sorted(numbers.items()):
        turns, time = sessions[key], times[f"{key}_date_time"]
        # Within a session, so that no pair spans the time between two.
        for first in range(0, len(turns), 2):
            pair = turns[first : first + 2]
            for turn in pair:
                pair_of[turn.number] = len(segments)
            utterances = [turn.utterance for turn in pair]
            # The time is told in the text: questions of category 2 ask when something was.
            segments.append(
                Segment(user=f"{time} {utterances[0]}", assistant=utterances[1] if len(utterances) > 1 else "")
            )
    return segments, pair_of


def _turn_ids(text: str) -> list[tuple[int, int]]:
    return [(int(session), int(turn)) for session, turn in _TURN_ID.findall(text)]
