"""LoCoMo (Maharana et al., 2024): ten long conversations between two people, over many sessions.

As the field evaluates retrieval on it: categories 1 to 4, pairs of turns as segments, image captions included,
evidence ids repaired where malformed. The data is CC BY-NC: it is read from a path and never kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.benchmark import Conversation, Query
from schemas.episode import Segment
from schemas.errors import EvoError

CATEGORIES = {1: "multi_hop", 2: "temporal", 3: "open_domain", 4: "single_hop"}  # 5, adversarial, has no answer
TURN_ID = re.compile(r"D:?(\d+):(\d+)")  # "D:11:26" and "D8:6; D9:17" occur


@dataclass(frozen=True)
class Locomo:
    """The conversations, and how many questions of categories 1 to 4 no evidence could be found for."""

    conversations: tuple[Conversation, ...]
    left_out: int


def load_locomo(path: Path) -> Locomo:
    """Read `locomo10.json`.

    Raises:
        EvoError: the file cannot be read or is not LoCoMo.
    """
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))
        read = [_conversation(sample) for sample in samples]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EvoError(
            f"benchmark file '{path}': {error}; nothing was evaluated; give LoCoMo's locomo10.json"
        ) from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise EvoError(
            f"benchmark file '{path}' is not LoCoMo ({type(error).__name__}: {error}); nothing was evaluated; "
            "give its locomo10.json"
        ) from None
    if not read:
        raise EvoError(f"benchmark file '{path}' holds no conversation; nothing was evaluated; give locomo10.json")
    return Locomo(tuple(conversation for conversation, _ in read), sum(left for _, left in read))


def _conversation(sample: dict[str, Any]) -> tuple[Conversation, int]:
    segments, pair_of = _segments(sample["conversation"])
    queries, left_out = [], 0
    for asked in sample["qa"]:
        if asked["category"] not in CATEGORIES:
            continue
        ids = {(int(session), int(turn)) for text in asked["evidence"] for session, turn in TURN_ID.findall(text)}
        gold = tuple(sorted({pair_of[turn] for turn in ids if turn in pair_of}))
        if gold:
            queries.append(Query(text=asked["question"], gold=gold, question_type=CATEGORIES[asked["category"]]))
        else:
            left_out += 1
    conversation = Conversation(
        conversation_id=str(sample["sample_id"]), segments=tuple(segments), queries=tuple(queries)
    )
    return conversation, left_out


def _segments(conversation: dict[str, Any]) -> tuple[list[Segment], dict[tuple[int, int], int]]:
    """Pairs of turns within each session, and (session, turn number) -> pair."""
    segments: list[Segment] = []
    pair_of: dict[tuple[int, int], int] = {}
    numbers = sorted(int(k.removeprefix("session_")) for k in conversation if re.fullmatch(r"session_\d+", k))
    for number in numbers:
        turns, time = conversation[f"session_{number}"], conversation[f"session_{number}_date_time"]
        for first in range(0, len(turns), 2):
            pair = turns[first : first + 2]
            for turn in pair:
                session, count = TURN_ID.findall(turn["dia_id"])[0]
                pair_of[int(session), int(count)] = len(segments)
            said = [_turn(turn) for turn in pair]
            segments.append(Segment(user=f"{time} {said[0]}", assistant=said[1] if len(said) > 1 else ""))
    return segments, pair_of


def _turn(turn: dict[str, Any]) -> str:
    caption = f" [image: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
    return f"{turn['speaker']}\n{turn['text']}{caption}"
