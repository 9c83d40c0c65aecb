"""After a withdrawal: ingest does not undo it, synthesis does not work on it, and the command says what follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evoembedding.flows.build_dataset import shard_version
from evoembedding.flows.commands.app import app
from evoembedding.flows.commands.options import Sizes, chosen_recipe
from evoembedding.flows.ingest import ingest_source
from evoembedding.flows.pending import pending_sources
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import ask_teachers, draft_partition
from evoembedding.flows.teaching.plan import make_plan
from evoembedding.flows.teaching.teach import all_items
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.episode import Context, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.synth import cloze
from evoembedding.synth.fingerprints import chains
from evoembedding.synth.generators import Offline
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.lineage.withdrawal import withdraw
from tests.records import teacher_call

TEXTS = {
    "rivers": "The Danube flows through Vienna and Budapest. It rises in Donaueschingen. Barges carry gravel there.",
    "towers": "The tower of Lisbon guards the harbour. Masons rebuilt it after 1755. Its bell is called Bonifacia.",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two ingested documents with cloze questions, published as texts@1."""
    folder, state = tmp_path / "texts", tmp_path / "home"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / f"{name}.txt").write_text(text * 3)
    ingest_source.fn(state, str(folder))
    config = recipe("demo").cloze
    assert config
    with Warehouse.open(state) as warehouse:
        todo = pending_sources(warehouse, Offline.of(cloze.generator, config))
    assert draft_partition.fn(state, "cloze", config, todo, "cloze") >= 2
    with Warehouse.open(state) as warehouse:
        publish(warehouse, "texts", "{}", None, EpisodeFilter())
    return state


@pytest.fixture
def evo_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("EVO_HOME", str(home))
    return lambda *words: CliRunner().invoke(app, words)


def document(home: Path, name: str) -> str:
    with Warehouse.open(home) as warehouse:
        rows = warehouse.query("SELECT document_id FROM documents WHERE source_id = ?", (f"{name}.txt",))
    return str(rows.item())


def take_back(home: Path, identity: str) -> None:
    with Warehouse.open(home) as warehouse:
        withdraw(warehouse, identity, "", "someone", "")


def test_ingesting_the_text_again_does_not_undo_it(home: Path, tmp_path: Path) -> None:
    rivers = document(home, "rivers")
    take_back(home, rivers)
    again = ingest_source.fn(home, str(tmp_path / "texts"))
    assert (again.read, again.new, again.withdrawn) == (2, 0, (rivers,))
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"title": "Another title", "text": TEXTS["rivers"] * 3}))
    (refused,) = ingest_source.fn(home, str(other)).failures
    assert refused.item == "other.jsonl:1"
    assert f"its text is that of {rivers}, which was withdrawn" in refused.reason
    with Warehouse.open(home) as warehouse:
        assert len(warehouse.query("SELECT * FROM documents")) == 2


def test_synthesis_leaves_withdrawn_documents_alone(home: Path) -> None:
    config = recipe("demo").cloze
    assert config
    changed = config.model_copy(update={"seed": config.seed + 1})
    rivers, towers = document(home, "rivers"), document(home, "towers")
    with Warehouse.open(home) as warehouse:
        assert pending_sources(warehouse, Offline.of(cloze.generator, changed)) == sorted((rivers, towers))
    take_back(home, rivers)
    with Warehouse.open(home) as warehouse:
        assert pending_sources(warehouse, Offline.of(cloze.generator, changed)) == [towers]
    offline = recipe("demo").model_copy(update={"cloze": changed})
    planned = {row.stage: (row.done, row.pending) for row in make_plan(home, offline) if row.kind == "cloze"}
    assert planned == {"cloze": (0, 1), "verify": (0, 1)}


def test_teachers_are_not_asked_about_what_was_withdrawn(home: Path) -> None:
    sizes = Sizes(personas=3, documents=1)
    taught = chosen_recipe("taught", ["http://127.0.0.1:1/v1"], "scripted", sizes)
    assert taught.teaching
    config = taught.teaching.model_copy(update={"memory": taught.teaching.memory.model_copy(update={"share": 1.0})})
    first = min(document(home, name) for name in TEXTS)
    spoken = Context(
        context_id="ctx-1",
        kind="dialogue",
        generator="scripted",
        split="train",
        seed=1,
        document_ids=(),
        segments=(Segment(user="a"), Segment(user="b")),
        fingerprint=chains(config)["dialogue"].contexts.fingerprint,
    )
    simulated = spoken.model_copy(update={"context_id": "ctx-2", "seed": 2, "fingerprint": "of a simulator"})
    with Warehouse.open(home) as warehouse:
        warehouse.append("contexts", to_frame(Context, [spoken, simulated]))
        before = {item.name for item in all_items(warehouse, config)}
    for identity in (first, "ctx-1", "ctx-2"):
        take_back(home, identity)
    with Warehouse.open(home) as warehouse:
        after = {item.name for item in all_items(warehouse, config)}
    # The second document does not take the place of the first; nor is a teacher's dialogue a simulator's.
    assert before - after == {f"web:{first}", f"memory:web:{first}", "dialogue:1", "memory:dialogue:1"}
    assert after == {f"{kind}dialogue:{n}" for kind in ("", "memory:") for n in (0, 2)}


def test_a_withdrawn_teacher_model_is_not_asked(home: Path) -> None:
    call = teacher_call("call-1", "scripted")
    with Warehouse.open(home) as warehouse:
        warehouse.append("teacher_calls", to_frame(TeacherCall, [call]))
    take_back(home, "scripted")
    taught = chosen_recipe("taught", ["http://127.0.0.1:1/v1"], "scripted", Sizes(personas=1))
    with pytest.raises(EvoError, match="teacher model 'scripted' was withdrawn"):
        ask_teachers.fn(home, taught)


def test_a_version_with_nothing_left_is_not_sharded(home: Path) -> None:
    for name in TEXTS:
        take_back(home, document(home, name))
    with pytest.raises(EvoError, match="texts@3 holds no episode, since all of them were withdrawn"):
        shard_version.fn(home, "texts", recipe("demo").train.model)


def test_the_command_shows_does_and_repeats_a_withdrawal(home: Path, evo_here: Callable[..., Any]) -> None:
    rivers = document(home, "rivers")
    shown = evo_here("impact", rivers, "--withdraw", "--dry-run")
    assert shown.exit_code == 0
    assert "would be withdrawn; nothing was stored; texts@2 follows texts@1" in shown.stdout
    done = json.loads(evo_here("impact", rivers, "--withdraw", "--reason", "licence", "--json").stdout)
    assert [(one["before"], one["after"]) for one in done["successors"]] == [("texts@1", "texts@2")]
    assert (done["new"], done["dry_run"], done["retrain"]) == (True, False, [])
    assert done["tree"]["children"][0]["facts"]["successor"] == "texts@2"
    (file,) = (home / "lineage").glob("*.jsonl")
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(e["eventType"], e["job"]["name"].partition(".")[0]) for e in told][-2:] == [
        ("START", "withdraw"),
        ("COMPLETE", "withdraw"),
    ]
    assert told[-1]["inputs"][0]["name"].endswith("texts@1")
    assert told[-1]["outputs"][0]["name"].endswith("texts@2")
    again = evo_here("impact", rivers, "--withdraw")
    assert "was withdrawn already" in again.stdout
    assert "(licence); texts@2 follows texts@1" in again.stdout
    assert "withdrawn" in evo_here("trace", "texts@1").stdout
    as_of = evo_here("trace", "texts@1", "--as-of", "texts@1", "--json", "--limit", "0")
    assert "withdrawn" not in as_of.stdout
    assert json.loads(as_of.stdout)["label"] == "texts@1"
    assert evo_here("impact", rivers, "--mermaid").stdout.startswith("flowchart LR\n")


@pytest.mark.parametrize(
    "words",
    [
        ("trace", "texts@1", "--json", "--mermaid"),
        ("impact", "texts@1", "--dry-run"),
        ("impact", "texts@1", "--reason", "x"),
        ("impact", "texts@1", "--withdraw", "--as-of", "texts@1"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    evo_here: Callable[..., Any], words: tuple[str, ...]
) -> None:
    assert evo_here(*words).exit_code == 2
