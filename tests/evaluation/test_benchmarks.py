"""The registry of benchmarks: what holds for each entry, whichever there are."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evoembedding.evaluation.benchmarks import BENCHMARKS, listed, read_benchmark, texts
from evoembedding.evaluation.benchmarks.benchmark import Benchmark, Given
from evoembedding.flows.report.training import benchmarks
from evoembedding.schemas.benchmark import BenchmarkData, Conversation, Query
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.curation.decontaminate import Benchmarks
from evoembedding.synth.simulator import simulate

WORLDS = SimulatorConfig(contexts=2, split="heldout")
WRITTEN = Path(__file__)
SAID = "the ferry to wexholm ran twice a day in spring and once in winter"


def given(path: Path | None) -> Given:
    """All that a benchmark may be read from."""
    return Given(path, "sim-1", lambda: simulate(WORLDS), lambda label: of_lines(WRITTEN, f"own:{label or 'd@1'}"))


def of_lines(path: Path, name: str = "lines") -> BenchmarkData:
    """A line a segment, one question."""
    segments = tuple(Segment(user=line) for line in path.read_text().splitlines())
    queries = (Query(text="How often did the old ferry run?", gold=(0,), question_type="plain"),)
    return BenchmarkData(
        name=name, conversations=(Conversation(conversation_id="c", segments=segments, queries=queries),)
    )


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of a benchmark `lines`, which is registered for this test."""
    entry = Benchmark("lines", "Lines", "lines of text", lambda given: of_lines(given.file), file="lines.log")
    monkeypatch.setitem(BENCHMARKS, "lines", entry)
    path = tmp_path / "lines.log"
    path.write_text(f"{SAID}\nnothing else\n")
    return path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_entry_is_complete_and_its_mistakes_are_sentences(name: str, tmp_path: Path) -> None:
    entry = BENCHMARKS[name]
    assert entry.name == name
    assert entry.title and entry.says
    assert f"{name}{f'[:{entry.part}]' if entry.part else ''}: {entry.says}" in listed()
    if not entry.file:
        read = read_benchmark(name, given(None))
        assert read.questions
        assert read.name.split(":")[0] == name
        if entry.part:
            assert read_benchmark(f"{name}:mine@3", given(None)).name == f"{name}:mine@3"
        with pytest.raises(EvoError, match="read from no file; nothing was evaluated; leave --path out"):
            read_benchmark(name, given(Path("x")))
        return
    with pytest.raises(EvoError, match=f"needs --path FILE; nothing was evaluated; give its {entry.file}"):
        read_benchmark(name, given(None))
    (tmp_path / entry.file).write_bytes(b"\xff\xfe[")
    for path in (tmp_path / "none", tmp_path, tmp_path / entry.file):
        with pytest.raises(EvoError, match=f"nothing was evaluated; give {entry.title}'s {entry.file}") as caught:
            read_benchmark(name, Given(path))
        assert "\n" not in str(caught.value)


def test_an_unknown_name_is_told_all_there_are(lines: Path) -> None:
    with pytest.raises(EvoError, match=r"unknown benchmark 'no'; nothing was evaluated; .* heldout, .*lines"):
        read_benchmark("no", Given(lines))


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


READERS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: _read(path)["texts"], "KeyError: 'texts'"),
    (lambda path: _read(path)["rows"][7], "IndexError: "),
    (lambda path: _read(path)["rows"] + 1, "TypeError: "),
    (lambda path: _read(path)["rows"][0].texts, "AttributeError: "),
    (lambda path: pl.read_json(path).select("texts"), "texts"),
    (lambda path: pl.read_parquet(path), ""),
    (lambda path: pq.read_table(path), ""),
    (lambda path: pa.array([1]).cast(pa.binary(3)), ""),
    (lambda path: zlib.decompress(path.read_bytes()), "incorrect header"),
]


@pytest.mark.parametrize(("reader", "says"), READERS)
def test_what_readers_raise_over_a_file_of_another_form_is_a_sentence_with_its_cause(
    lines: Path, monkeypatch: pytest.MonkeyPatch, reader: Callable[[Path], Any], says: str
) -> None:
    lines.write_text('{"rows": [{"text": "a"}]}')
    monkeypatch.setitem(BENCHMARKS, "lines", BENCHMARKS["lines"]._replace(read=lambda given: reader(given.file)))
    with pytest.raises(EvoError, match=r"lines.log' cannot be read .*; nothing was evaluated; give Lines's") as caught:
        read_benchmark("lines", Given(lines))
    assert says in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(type(caught.value.__cause__)):
        reader(lines)


def test_a_fault_of_the_code_is_no_bad_file(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(given: Given) -> BenchmarkData:
        return {}["worlds"]  # type: ignore[no-any-return]

    monkeypatch.setitem(BENCHMARKS, "lines", BENCHMARKS["lines"]._replace(read=fault, file=""))
    with pytest.raises(KeyError, match="worlds"):
        read_benchmark("lines", Given())


def test_what_is_registered_is_kept_out_of_training(lines: Path) -> None:
    """Also a file of a form that is read in no other way; with it the digest names how it was read."""
    readers = {"lines": lambda path: texts("lines", path)}
    with pytest.raises(EvoError, match=r"is no \.json"):
        Benchmarks([str(lines)], 8)
    found = Benchmarks([f"lines={lines}"], 8, readers)
    assert found.shared([f"Well, {SAID}.", "nothing else"]) == ["the ferry to wexholm ran twice a day", ""]
    assert found.shared(["How often did the old ferry run?"], whole=True) == ["how often did the old ferry run"]
    with pytest.raises(EvoError, match=r"cannot be read .*; nothing was published; give Lines's lines.log"):
        Benchmarks([f"lines={lines}.none"], 8, readers)
    copied = lines.with_suffix(".txt")
    copied.write_bytes(lines.read_bytes())
    assert Benchmarks([str(copied)], 8, readers).digest == Benchmarks([str(copied)], 8).digest != found.digest
    (odd := lines.parent / "odd=name.txt").write_text(SAID)
    assert Benchmarks([str(odd)], 8, readers).digest == Benchmarks([str(odd)], 8).digest


def test_reports_name_it_by_its_title(lines: Path) -> None:
    row = {"question_type": "all", "metric": "MRR", "system": "x", "value": 1.0, "low": 1.0, "high": 1.0}
    row |= {"questions": 1, "left_out": 0, "measured_on": "d"}
    told = benchmarks([row | {"benchmark": name} for name in ("lines", "of other code:x", "heldout:sim-1")])
    assert [one.title for one in told] == ["Lines", "of other code", "held-out simulated dialogues"]
