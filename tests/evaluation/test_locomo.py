"""LoCoMo's form, on a conversation made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evoembedding.evaluation.benchmarks import read_benchmark
from evoembedding.evaluation.benchmarks.benchmark import Given
from evoembedding.schemas.benchmark import BenchmarkData
from evoembedding.schemas.errors import EvoError


def turn(speaker: str, number: str, text: str, **more: str) -> dict[str, str]:
    return {"speaker": speaker, "dia_id": number, "text": text, **more}


def sample() -> dict[str, Any]:
    def asked(question: str, category: int, *evidence: str) -> dict[str, Any]:
        return {"question": question, "answer": "x", "category": category, "evidence": list(evidence)}

    return {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ann",
            "speaker_b": "Ben",
            "session_1_date_time": "1 May",
            "session_1": [
                turn("Ann", "D1:1", "Hello"),
                turn("Ben", "D1:2", "Hi", blip_caption="a red kite"),
                turn("Ann", "D1:3", "Bye"),
            ],
            "session_2_date_time": "2 May",
            "session_2": [turn("Ben", "D2:1", "Back"), turn("Ann", "D2:2", "Good")],
            "session_10_date_time": "9 May",
            "session_10": [turn("Ann", "D10:1", "Last")],
            "session_11_date_time": "10 May",
        },
        "qa": [
            asked("one", 4, "D1:2"),
            asked("two in one pair", 1, "D1:1", "D1:2", "D2:2"),
            asked("malformed", 2, "D:1:3; D10:1"),
            asked("nothing", 3),
            asked("unresolvable", 3, "D", "D9:9"),
            asked("adversarial", 5, "D1:1"),
        ],
    }


def written(folder: Path, content: object) -> Path:
    path = folder / "locomo.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def locomo(path: Path) -> BenchmarkData:
    return read_benchmark("locomo", Given(path))


def test_pairs_captions_repairs_and_what_is_left_out(tmp_path: Path) -> None:
    read = locomo(written(tmp_path, [sample()]))
    (conversation,) = read.conversations
    assert [s.text for s in conversation.segments] == [
        "User: 1 May Ann\nHello\nAssistant: Ben\nHi [image: a red kite]",
        "User: 1 May Ann\nBye\nAssistant:",
        "User: 2 May Ben\nBack\nAssistant: Ann\nGood",
        "User: 9 May Ann\nLast\nAssistant:",
    ]
    assert [(q.text, q.gold, q.question_type) for q in conversation.queries] == [
        ("one", (0,), "single_hop"),
        ("two in one pair", (0, 2), "multi_hop"),
        ("malformed", (1, 3), "temporal"),
    ]
    assert (read.left_out, read.questions) == (2, 3)


def test_null_is_no_word(tmp_path: Path) -> None:
    content = sample()
    content["conversation"]["session_1"][0]["text"] = None
    content["conversation"]["session_1"][1] |= {"text": None}
    content["conversation"]["session_2"][0]["blip_caption"] = None
    content["qa"][5]["evidence"] = None
    (conversation,) = locomo(written(tmp_path, [content])).conversations
    texts = [segment.text for segment in conversation.segments]
    assert texts[0] == "User: 1 May Ann\n\nAssistant: Ben\n[image: a red kite]"
    assert not [text for text in texts if "None" in text]


def test_evidence_and_category_as_strings_say_the_same(tmp_path: Path) -> None:
    plain = locomo(written(tmp_path, [sample()]))
    content = sample()
    for asked in content["qa"]:
        asked["evidence"] = "; ".join(asked["evidence"])
        asked["category"] = str(asked["category"])
    assert locomo(written(tmp_path, [content])) == plain


def test_a_file_that_leaves_nothing_to_ask_is_refused_with_its_count(tmp_path: Path) -> None:
    content = sample()
    content["qa"] = content["qa"][3:]
    with pytest.raises(EvoError, match=r"no question that can be asked, in 1 conversations: 2 were left out"):
        locomo(written(tmp_path, [content]))


def test_the_digest_is_of_what_is_read_and_asked(tmp_path: Path) -> None:
    plain = locomo(written(tmp_path, [sample()]))
    same, other = sample(), sample()
    same["qa"][0]["answer"] = "another, which no one reads"
    other["qa"][0]["evidence"] = ["D2:1"]
    assert locomo(written(tmp_path, [same])).digest == plain.digest
    assert locomo(written(tmp_path, [other])).digest != plain.digest


def no_conversation(content: dict[str, Any]) -> None:
    del content["conversation"]


def wrong_evidence(content: dict[str, Any]) -> None:
    content["qa"][0]["evidence"] = 7


def no_time(content: dict[str, Any]) -> None:
    del content["conversation"]["session_2_date_time"]


def changed(*path: Any, to: Any) -> Any:
    """A damage: another value at a place in the sample."""

    def damage(content: dict[str, Any]) -> None:
        place: Any = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return damage


SESSION = ("conversation", "session_1")
WRONG = [
    changed(*place, to=value)
    for place, values in (
        (("sample_id",), (None, [1], {})),
        (("conversation",), (None, [], "text", 3)),
        (SESSION, (None, "text", 3, {}, [None], [[]], ["text"])),
        ((*SESSION, 0, "speaker"), (None, 3, [], {})),
        ((*SESSION, 0, "dia_id"), (None, 3, "", "E1", "D1", [])),
        ((*SESSION, 0, "text"), (3, [], {}, "NUL \0", "half \ud800")),
        ((*SESSION, 1, "blip_caption"), (3, ["a"], "half \udfff")),
        (("conversation", "session_1_date_time"), (None, 3, [])),
        (("qa",), (None, "text", 3, {}, [None], ["text"])),
        (("qa", 0, "question"), (None, "", 3, [], {}, "half \ud800")),
        (("qa", 0, "category"), (None, "four", 0, 6, -1, 4.5, True, [4], {})),
        (("qa", 0, "evidence"), (3, {"D1:1": 1}, [3], [None], [["D1:1"]])),
    )
    for value in values
]


@pytest.mark.parametrize("damage", [no_conversation, wrong_evidence, no_time, *WRONG])
def test_other_forms_are_one_sentence(tmp_path: Path, damage: Any) -> None:
    content = sample()
    damage(content)
    with pytest.raises(EvoError, match=r"is not LoCoMo.*nothing was evaluated") as caught:
        locomo(written(tmp_path, [content]))
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[1]", '{"a": 1}', "null", "[" * 100_000, "[" + "9" * 5000 + "]", '"D1:1"']
)
def test_broken_files_are_one_sentence(tmp_path: Path, content: str) -> None:
    with pytest.raises(EvoError) as caught:
        locomo(written(tmp_path, content))
    assert "locomo.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe[")
    for path in (tmp_path / "bytes.json", tmp_path / "none.json", tmp_path):
        with pytest.raises(EvoError):
            locomo(path)
