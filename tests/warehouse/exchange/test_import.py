"""Import: a round trip loses nothing, other rows get ids of their own, malformed ones a reason; counts balance."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.exchange import FORM, MANIFEST
from evoembedding.schemas.files import file_digest
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.funnel import assert_balanced
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, list_versions, publish, resolve
from evoembedding.warehouse.exchange import import_dataset as module
from evoembedding.warehouse.exchange import import_source
from evoembedding.warehouse.exchange.export import export_version
from evoembedding.warehouse.exchange.import_dataset import Imported, import_dataset
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.lineage.tree import render_tree
from tests.soak import count

TABLES = ("documents", "contexts", "questions", "evidence", "verdicts", "episodes", "failures", "imports")
# No NUL: such rows are rejected.
PIECES = [
    "User:",
    "\nAssistant:",
    "\nAssistant: x",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\u2028",
    "\u3000",
    "\x1f",
    "😀",
    '"',
    "\\",
]
TEXT = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=8), max_size=5
).map("".join)
SAID = TEXT.filter(str.strip)


@st.composite
def contexts(draw: st.DrawFn) -> Any:
    """A context's segments and questions."""
    segments = draw(st.lists(st.tuples(SAID, TEXT), min_size=2, max_size=4))
    evidence = st.sets(st.integers(0, len(segments) - 1), min_size=1, max_size=len(segments) - 1)
    asked = st.tuples(SAID, SAID, evidence.map(lambda found: tuple(sorted(found))))
    return segments, draw(st.lists(asked, min_size=1, max_size=3))


def bring(home: Path, source: Path | str, name: str = "odd", **more: Any) -> Imported:
    with Warehouse.open(home) as warehouse:
        return import_dataset(warehouse, name, str(source), "abc", **more)


def row(question: str = "Where now?", evidence: tuple[int, ...] = (1,), **more: Any) -> dict[str, Any]:
    """A row of the published form, two segments long."""
    said = [("I moved to Lisbon.", "Nice."), ("I live in Porto now.", "")]
    messages = [{"role": r, "content": c} for pair in said for r, c in zip(("user", "assistant"), pair, strict=True)]
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": "Porto"}]
    turns = [f"User: {user}\nAssistant: {assistant}" for user, assistant in said]
    return {"messages": messages, "meta": {"turns": [*turns, question], "evidence_turns": list(evidence)}, **more}


def jsonl(path: Path, rows: list[dict[str, Any] | str]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def counts(home: Path) -> dict[str, int]:
    with Warehouse.open(home) as warehouse:
        return {name: int(warehouse.query(f"SELECT count(*) FROM lake.{name}").item()) for name in TABLES}


@pytest.mark.slow
@settings(max_examples=count(3, 25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(told=st.lists(contexts(), min_size=1, max_size=12), form=st.sampled_from(["parquet", "jsonl"]))
def test_a_round_trip_loses_nothing(world: Any, told: Any, form: Any) -> None:
    with TemporaryDirectory() as folder:
        here, there, out = Path(folder) / "here", Path(folder) / "there", Path(folder) / "out"
        version = world.published(here, told)
        with Warehouse.open(here) as first:
            export_version(first, version, out, form, rows_a_file=5)
            done = bring(there, out)
            assert (done.rows, done.new, done.rejected) == (version.episodes, version.episodes, 0)
            assert (done.version.digest, done.version.dataset_id) == (version.digest, version.dataset_id)
            with Warehouse.open(there) as second:
                for table in world.tables:
                    assert world.stored(second, table).equals(world.stored(first, table)), table
                export_version(second, done.version, Path(folder) / "again", form, rows_a_file=5)
        assert world.files(Path(folder) / "again") == world.files(out)


def test_an_export_brings_its_lineage(world: Any, tmp_path: Path) -> None:
    told = [([("a", "b"), ("c", "")], [("one?", "a", (0,))]) for _ in range(4)]
    version = world.published(tmp_path / "here", told)
    with Warehouse.open(tmp_path / "here") as warehouse:
        export_version(warehouse, version, tmp_path / "out")
    done = bring(tmp_path / "there", tmp_path / "out", name="other")
    assert done.version.digest == version.digest
    assert done.version.parent is None
    with Warehouse.open(tmp_path / "there") as warehouse:
        tree = render_tree(trace(warehouse, "other@1"))
        assert_balanced(warehouse)
    for told_of in (
        "import",
        str(tmp_path / "out"),
        "was: odd@1",
        "recipe: r",
        "commit: abc",
        "cc-by-4.0",
        "m for verify",
    ):
        assert told_of in tree, told_of
    # A version published from the imported rows leaves out nothing either.
    with Warehouse.open(tmp_path / "there") as warehouse:
        assert publish(warehouse, "again", "{}", "", EpisodeFilter()).digest == version.digest


def test_two_episodes_of_a_question_both_come(world: Any, tmp_path: Path) -> None:
    same = ("who?", "x", (0,)), ("who?", "x", (1,))
    version = world.published(tmp_path / "here", [([("x", ""), ("x y", ""), ("z", "")], [same[0]])])
    with Warehouse.open(tmp_path / "here") as warehouse:
        one = episodes_of(warehouse, version.dataset_id)
        twin = one.with_columns(pl.lit("ep-twin").alias("episode_id"), pl.Series("evidence", [[1]]))
        warehouse.append("episodes", twin)
        both = publish(warehouse, "odd", "{}", "", EpisodeFilter())
        assert both.episodes == 2
        export_version(warehouse, both, tmp_path / "out")
    done = bring(tmp_path / "there", tmp_path / "out")
    assert (done.version.digest, done.version.episodes) == (both.digest, 2)
    assert bring(tmp_path / "there", tmp_path / "out").version == done.version


def test_the_published_form_becomes_a_version(tmp_path: Path) -> None:
    rows = [row(), row("Where first?", (0,)), row(), row("Where else?", (1, 0, 1))]
    lines = jsonl(tmp_path / "rows.jsonl", [*rows, "", "  "])
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    done = bring(tmp_path / "home", lines, "evotrain180k", licence="apache-2.0")
    assert done.version.label == "evotrain180k@1"
    assert (done.rows, done.new, done.there, done.rejected, done.version.episodes) == (4, 3, 1, 0, 3)
    assert bring(tmp_path / "home", tmp_path / "rows.parquet", "again").version.digest == done.version.digest
    with Warehouse.open(tmp_path / "home") as warehouse:
        contexts = warehouse.query("SELECT * FROM lake.contexts")
        episodes = episodes_of(warehouse, done.version.dataset_id)
        tree = render_tree(trace(warehouse, "evotrain180k"))
        assert_balanced(warehouse)
    assert contexts["segments"].to_list() == [
        [
            {"user": "I moved to Lisbon.", "assistant": "Nice."},
            {"user": "I live in Porto now.", "assistant": ""},
        ]
    ]
    assert contexts["kind"].to_list() == ["dialogue"]
    assert set(episodes["generator"]) == {"import"}
    assert dict(episodes.select("question", "evidence").iter_rows()) == {
        "Where now?": [1],
        "Where first?": [0],
        "Where else?": [0, 1],
    }
    assert f"import {lines}" in tree
    assert "licence: apache-2.0" in tree


def test_what_describes_a_row_is_kept(tmp_path: Path) -> None:
    described = row(generator="human", question_type="latest", family="temporal", kind="memory", reasoning="r", mood=1)
    described["meta"]["topic"] = "moves"
    done = bring(tmp_path / "home", jsonl(tmp_path / "r.jsonl", [described]))
    assert done.ignored == {"mood": 1, "meta.topic": 1}
    with Warehouse.open(tmp_path / "home") as warehouse:
        question = warehouse.query("SELECT * FROM lake.questions").row(0, named=True)
        kind = warehouse.query("SELECT kind FROM lake.contexts").item()
    kept = {name: question[name] for name in ("generator", "question_type", "family", "reasoning")}
    assert kept == {"generator": "human", "question_type": "latest", "family": "temporal", "reasoning": "r"}
    assert kind == "memory"


def broken(change: Any) -> dict[str, Any]:
    one = row()
    change(one)
    return one


MALFORMED: dict[str, tuple[dict[str, Any] | str, str]] = {
    "no JSON": ('{"messages": [', "Invalid JSON"),
    "not an object": ("[1, 2]", "object"),
    "a number": ("7", "object"),
    "deep": ("[" * 100_000, "Invalid JSON"),
    "no messages": (broken(lambda r: r.pop("messages")), "messages: Field required"),
    "no meta": (broken(lambda r: r.pop("meta")), "meta: Field required"),
    "no turns": (broken(lambda r: r["meta"].pop("turns")), "meta.turns: Field required"),
    "null content": (broken(lambda r: r["messages"][0].update(content=None)), "messages.0.content"),
    "number content": (broken(lambda r: r["messages"][0].update(content=5)), "valid string"),
    "a system message": (broken(lambda r: r["messages"][0].update(role="system")), "messages.0.role"),
    "no alternation": (broken(lambda r: r["messages"][1].update(role="user")), "must alternate"),
    "no answer": (broken(lambda r: r["messages"].pop()), "pairs of them"),
    "nothing": ({"messages": [], "meta": {"turns": [], "evidence_turns": []}}, "0 messages"),
    "a turn more": (broken(lambda r: r["meta"]["turns"].insert(0, "x")), "4 turns and 6 messages"),
    "another turn": (broken(lambda r: r["meta"]["turns"].__setitem__(1, "User: x\nAssistant: y")), "meta.turns.1"),
    "another question": (broken(lambda r: r["meta"]["turns"].__setitem__(2, "Why?")), "not the question"),
    "an empty question": (row("  "), "the question is empty"),
    "an empty answer": (broken(lambda r: r["messages"][-1].update(content="\n")), "the answer is empty"),
    "an empty segment": (
        broken(
            lambda r: (r["messages"][2].update(content=" "), r["meta"]["turns"].__setitem__(1, "User: \nAssistant:"))
        ),
        "the segment is empty",
    ),
    "no evidence": (row(evidence=()), "evidence_turns is empty"),
    "evidence beyond": (row(evidence=(0, 2)), "names 2, outside 0..1"),
    "evidence before": (row(evidence=(-1,)), "names -1, outside 0..1"),
    "endless evidence": (row(evidence=(10**40,)), "outside 0..1"),
    "evidence by name": (broken(lambda r: r["meta"].update(evidence_turns=["1"])), "valid integer"),
    "evidence true": (broken(lambda r: r["meta"].update(evidence_turns=[True])), "valid integer"),
    "a half": (broken(lambda r: r["meta"].update(evidence_turns=[1.0])), "valid integer"),
    "a NUL": (row("Where\0?"), "NUL character"),
    "a lone surrogate": (json.dumps(row("Where \ud800?")), ""),
    "another split": (row("Why?", split="heldout"), "a version holds one split"),
    "no such split": (row(split="test"), "split"),
    "no such kind": (row(kind="song"), "kind"),
}


def test_every_malformed_row_is_kept_with_its_reason(tmp_path: Path) -> None:
    rows: list[dict[str, Any] | str] = [row("First?"), *(bad for bad, _ in MALFORMED.values()), row("Last?")]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    path.write_bytes(path.read_bytes() + b'{"messages": "\xff\xfe"}\n')
    done = bring(tmp_path / "home", path)
    assert (done.rows, done.new, done.there, done.rejected) == (len(rows) + 1, 2, 0, len(MALFORMED) + 1)
    assert done.version.episodes == 2
    with Warehouse.open(tmp_path / "home") as warehouse:
        failed = {r["item"]: r for r in warehouse.query("SELECT * FROM lake.failures").iter_rows(named=True)}
        assert_balanced(warehouse)
    assert len(failed) == done.rejected
    for number, (name, (_, reason)) in enumerate(MALFORMED.items(), start=2):
        assert reason in failed[f"rows.jsonl:{number}"]["reason"], name
    assert all(json.loads(failure["payload"])["row"] for failure in failed.values())
    assert len(done.reasons) == module.SHOWN
    again = bring(tmp_path / "home", path)
    assert (again.version, again.rejected, again.new, again.there) == (done.version, done.rejected, 0, 2)
    assert len(again.reasons) == module.SHOWN


def test_nothing_but_malformed_rows(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [row(evidence=(9,)), "nonsense"])
    with pytest.raises(EvoError, match=r"2 rows read, 2 rejected; the first rejected: rows.jsonl:1: meta.evidence"):
        bring(tmp_path / "home", path)
    assert counts(tmp_path / "home") == {**dict.fromkeys(TABLES, 0), "failures": 2}
    empty = jsonl(tmp_path / "none.jsonl", [])
    with pytest.raises(EvoError, match="0 rows read"):
        bring(tmp_path / "home", empty)


def test_parquet_rows_are_checked_alike(tmp_path: Path) -> None:
    rows = [row(), row(evidence=(5,)), row("Why?")]
    rows[2]["messages"][0]["content"] = None
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    done = bring(tmp_path / "home", tmp_path / "rows.parquet")
    assert (done.rows, done.new, done.rejected) == (3, 1, 2)
    assert done.reasons[0] == "rows.parquet:2: meta.evidence_turns names 5, outside 0..1"
    assert "messages.0.content" in done.reasons[1]


def test_a_string_of_parquet_that_is_no_utf8_fails_its_row_alone(tmp_path: Path) -> None:
    rows = [row("First?"), row("Second?"), row("Third?")]
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet", compression="uncompressed", statistics=False)
    raw = (tmp_path / "rows.parquet").read_bytes()
    assert b"Second?" in raw
    (tmp_path / "rows.parquet").write_bytes(raw.replace(b"Second?", b"S\xed\xa0\xbdnd?"))
    done = bring(tmp_path / "home", tmp_path / "rows.parquet")
    assert (done.rows, done.new, done.rejected) == (3, 2, 1)
    assert done.reasons == ("rows.parquet:2: a string of it is not valid UTF-8",)


def test_a_huge_row_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_source, "LONGEST", 5000)
    huge = json.dumps(row("x" * 40_000))
    done = bring(tmp_path / "home", jsonl(tmp_path / "rows.jsonl", [row(), huge, row("After?")]))
    assert (done.rows, done.new, done.rejected) == (3, 2, 1)
    assert done.reasons == ("rows.jsonl:2: the row is longer than 0 MiB",)


def test_an_import_again_changes_nothing(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [row(), row("Why?"), "nonsense"])
    done = bring(tmp_path / "home", path)
    before = counts(tmp_path / "home")
    assert bring(tmp_path / "home", path).version == done.version
    assert counts(tmp_path / "home") == before
    (tmp_path / "moved").mkdir()
    path.rename(tmp_path / "moved" / "other.jsonl")
    assert bring(tmp_path / "home", tmp_path / "moved").version == done.version
    assert counts(tmp_path / "home") == before
    other = bring(tmp_path / "home", tmp_path / "moved", "other")
    assert (other.version.label, other.version.digest) == ("other@1", done.version.digest)
    assert (other.new, other.there, other.rejected) == (0, 2, 1)
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert [version.label for version in list_versions(warehouse)] == ["odd@1", "other@1"]


def test_more_rows_are_the_next_version(tmp_path: Path) -> None:
    bring(tmp_path / "home", jsonl(tmp_path / "a.jsonl", [row()]))
    done = bring(tmp_path / "home", jsonl(tmp_path / "b.jsonl", [row(), row("Why?")]))
    assert (done.version.label, done.version.parent, done.version.episodes) == ("odd@2", "odd@1", 2)
    assert (done.new, done.there) == (1, 1)


@pytest.mark.slow
def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [row(f"Where {n}?") for n in range(50)])
    script = (
        "import os, signal, sys; from pathlib import Path; from evoembedding import Warehouse\n"
        "from evoembedding.warehouse.exchange import import_dataset as m\n"
        "m.ROWS_A_COMMIT = 20\n"
        "with Warehouse.open(Path(sys.argv[1])) as w:\n"
        "  m.import_dataset(w, 'odd', sys.argv[2], 'abc',\n"
        "                   progress=lambda n: n < 40 or os.kill(os.getpid(), signal.SIGKILL))"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "home"), str(path)]
    killed = subprocess.run(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert counts(tmp_path / "home")["episodes"] == 40
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert list_versions(warehouse) == []
    done = bring(tmp_path / "home", path)
    assert (done.rows, done.new, done.there) == (50, 10, 40)
    assert done.version.digest == bring(tmp_path / "fresh", path).version.digest


@pytest.fixture
def folder(world: Any, tmp_path: Path) -> Path:
    """An exported folder."""
    version = world.published(tmp_path / "here", [([("a", "b"), ("c", "")], [("one?", "a", (0,))])] * 3)
    with Warehouse.open(tmp_path / "here") as warehouse:
        export_version(warehouse, version, tmp_path / "out", "jsonl")
    return tmp_path / "out"


def test_an_export_that_was_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    data = folder / "data" / "train-00000-of-00001.jsonl"
    whole, manifest = data.read_bytes(), (folder / MANIFEST).read_text()
    data.write_bytes(whole.replace(b"one?", b"two?", 1))
    with pytest.raises(EvoError, match=r"checksum .* its manifest says"):
        bring(tmp_path / "home", folder)
    data.unlink()
    with pytest.raises(EvoError, match="lacks 'data/train"):
        bring(tmp_path / "home", folder)
    data.write_bytes(whole)
    for text, said in (
        (manifest[:50], "cannot be read as the manifest"),
        (manifest.replace('"data/train', '"../data/train'), "lacks '../data/train"),
        (manifest.replace(f'"form": {FORM}', '"form": 99'), "is of form 99"),
    ):
        (folder / MANIFEST).write_text(text)
        with pytest.raises(EvoError, match=said):
            bring(tmp_path / "home", folder)
    assert counts(tmp_path / "home") == dict.fromkeys(TABLES, 0)
    (folder / MANIFEST).write_text(manifest)
    assert bring(tmp_path / "home", folder).new == 3


def test_an_export_of_the_form_before_gives_the_same_rows(folder: Path, world: Any, tmp_path: Path) -> None:
    """As commit 7f8106f wrote it: `check` in verdicts, the stage before among a stage's components."""
    bring(tmp_path / "today", folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for file in (*manifest["episodes"], manifest["named"]["fingerprints"]):
        path = folder / file["name"]
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            for verdict in row.get("verdicts", ()):
                verdict["check"] = verdict.pop("check_name")
            if before := row.pop("before", ""):
                row["components"] = json.dumps({"stage before": before, **json.loads(row["components"])})
        jsonl(path, rows)
        file["bytes"], file["blake2b"] = path.stat().st_size, file_digest(path)
    (folder / MANIFEST).write_text(json.dumps({**manifest, "form": 1}))
    done = bring(tmp_path / "home", folder)
    assert (done.rows, done.new, done.rejected) == (3, 3, 0)
    with Warehouse.open(tmp_path / "today") as today, Warehouse.open(tmp_path / "home") as warehouse:
        for table in world.tables:
            assert world.stored(warehouse, table).equals(world.stored(today, table)), table
        assert warehouse.query("SELECT before FROM lake.fingerprints")["before"].to_list() == ["fp-question"]
        (one,) = warehouse.query("SELECT * FROM lake.imports").to_dicts()
        assert DatasetVersion.model_validate_json(one["exported"]).created_at.tzinfo == UTC


def test_the_files_of_an_export_alone_get_ids_of_their_own(folder: Path, tmp_path: Path) -> None:
    with Warehouse.open(tmp_path / "here") as warehouse:
        known = set(episodes_of(warehouse, resolve(warehouse, "odd").dataset_id)["episode_id"])
    done = bring(tmp_path / "home", folder / "data" / "train-00000-of-00001.jsonl")
    assert (done.rows, done.new, done.there) == (3, 1, 2)  # the three contexts have the same texts
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert known.isdisjoint(episodes_of(warehouse, done.version.dataset_id)["episode_id"])


def test_sources_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 is not enough")
    pl.DataFrame({"text": ["x"]}).write_parquet(tmp_path / "other.parquet")
    pl.DataFrame([row(f"{n}?") for n in range(500)]).write_parquet(tmp_path / "cut.parquet", row_group_size=100)
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:3000] + b"\x00" * 600 + whole[3600:])
    for name, said in (
        ("nowhere.jsonl", "does not exist"),
        ("empty", "has no .jsonl or .parquet file"),
        ("a.csv", "ends in '.csv'"),
        ("a.parquet", "damaged or cannot be read"),
        ("cut.parquet", "damaged or cannot be read"),
        ("other.parquet", r"has no column messages and no meta .columns: text"),
    ):
        with pytest.raises(EvoError, match=said):
            bring(home, tmp_path / name)
    with pytest.raises(EvoError, match="is not allowed"):
        bring(home, tmp_path / "a.csv", "../x")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EvoError, match="'MiG-NJU/EvoTrain-180K' is neither a path nor a dataset of the hub"):
        bring(home, "MiG-NJU/EvoTrain-180K", "evotrain180k")
    with Warehouse.open(home) as warehouse:
        assert list_versions(warehouse) == []
