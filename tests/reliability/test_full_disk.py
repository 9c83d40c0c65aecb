"""A disk that fills up in the middle of each stage: a sentence, nothing half taken for whole, and a rerun that ends as
if it had never been full.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from evoembedding.flows.build_dataset import publish_version
from evoembedding.flows.commands.doctor import WEIGHTS
from evoembedding.flows.ingest import ingest_source
from evoembedding.flows.recipes import recipe
from evoembedding.flows.report.page import write_report
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import Recipe, SimulatorConfig
from evoembedding.schemas.dataset import Evaluation
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import disk_fault
from evoembedding.schemas.teacher import Message, Sampling, TeacherRequest
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import resolve
from evoembedding.warehouse.exchange.export import export_version
from evoembedding.warehouse.ledger import SqliteLedger
from evoembedding.warehouse.shards.shard_sets import build_shards, check_shards
from evoembedding.warehouse.upkeep.doctor import examine
from tests.records import teacher_call
from tests.reliability.disks import small_disk
from tests.soak import count
from tests.warehouse.world import WordTokenizer

CONTEXTS = 12
RECIPE: Recipe = recipe("smallest").replace(
    name="small", simulator=SimulatorConfig(contexts=CONTEXTS).model_dump(), cloze=None
)


class Stage(NamedTuple):
    """What is done before the disk fills up, what then, and what it is to give."""

    before: tuple[str, ...]
    work: Callable[[Path], None]
    gives: Callable[[Path], object]


def ingest(home: Path) -> None:
    source = home.parent.parent / "corpus.parquet"  # not on the small disk
    texts = [f"{n} " + " ".join(f"{(n * k) ** 3 % 99991:x}" for k in range(1, 300)) for n in range(200)]
    pl.DataFrame({"text": texts, "title": [f"t{n}" for n in range(200)]}).write_parquet(source)
    ingest_source.fn(home, str(source))


def synthesize(home: Path) -> None:
    for start in range(0, CONTEXTS, 4):  # a partition a transaction, as the flow has it
        with Warehouse.open(home) as warehouse:
            commit_drafts(warehouse, simulate(SimulatorConfig(contexts=CONTEXTS), start, start + 4))


def publish(home: Path) -> None:
    publish_version.fn(home, "d", RECIPE)


def shard(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        build_shards(warehouse, resolve(warehouse, "d@1"), WordTokenizer(), home / "shards", rows_per_shard=3)


def evaluate(home: Path) -> None:
    rows = [
        Evaluation(
            evaluation_id=f"eval-{n:08x}",
            model_id="m",
            benchmark="b",
            system="s",
            question_type=f"{n**5 % 999983:x}",
            metric="recall@1",
            value=n / 4000,
            low=0.0,
            high=1.0,
            questions=1,
        )
        for n in range(4000)
    ]
    with Warehouse.open(home) as warehouse:
        warehouse.append("evaluations", to_frame(Evaluation, rows))


def export(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        export_version(warehouse, resolve(warehouse, "d@1"), home / "exported", "jsonl", 20)


def report(home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        write_report(warehouse, home, "d@1")


def ask(home: Path) -> None:
    ledger = SqliteLedger.open(home)
    try:
        for n in range(60):
            messages = (Message(role="user", content=f"{n}"),)
            request = TeacherRequest(model="m", revision="", messages=messages, sampling=Sampling(), answer_schema="{}")
            if not ledger.find(request.call_id):
                ledger.record(teacher_call(request.call_id, "m").replace(content=f"{n**9:x}" * 400), request)
    finally:
        ledger.close()


def rows(*tables: str) -> Callable[[Path], object]:
    """A hash over the rows of tables, but for when they were made."""

    def read(home: Path) -> object:
        with Warehouse.open(home) as warehouse:
            return [
                warehouse.query(f"SELECT count(*), bit_xor(hash(t)) FROM (SELECT * FROM lake.{t}) t").row(0)
                for t in tables
            ]

    return read


def version(home: Path) -> object:
    with Warehouse.open(home) as warehouse:
        made = resolve(warehouse, "d@1")
        assert warehouse.query("SELECT count(*) FROM dataset_versions").item() == 1
        return made.digest, made.episodes


def shards(home: Path) -> object:
    [folder] = (home / "shards").iterdir()
    return [(file.name, file.blake2b) for file in check_shards(folder).files]


def exported(home: Path) -> object:
    return sorted((path.name, path.read_bytes()) for path in (home / "exported").rglob("*.jsonl"))


def page(home: Path) -> object:
    return len((home / "reports" / "d@1.html").read_text()) > 1000


def answers(home: Path) -> object:
    ledger = SqliteLedger.open(home)
    try:
        assert list(ledger.damage(deep=True)) == []
        return ledger.spent("s")
    finally:
        ledger.close()


STAGES = {
    "ingest": Stage((), ingest, rows("documents")),
    "synthesize": Stage((), synthesize, rows("contexts", "questions", "evidence", "verdicts", "episodes")),
    "publish": Stage(("synthesize",), publish, version),
    "shard": Stage(("synthesize", "publish"), shard, shards),
    "evaluate": Stage((), evaluate, rows("evaluations")),
    "export": Stage(("synthesize", "publish"), export, exported),
    "report": Stage(("synthesize", "publish"), report, page),
    "ledger": Stage((), ask, answers),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """Homes in which stages have been done, made once each."""
    made: dict[tuple[str, ...], Path] = {}

    def home(stages: tuple[str, ...]) -> Path:
        if stages not in made:
            folder: Path = tmp_path_factory.mktemp("prepared") / "home"
            if stages:
                shutil.copytree(home(stages[:-1]), folder)
                STAGES[stages[-1]].work(folder)
            else:
                Warehouse.open(folder).close()
            made[stages] = folder
        return made[stages]

    return home


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_disk_that_fills_up(name: str, prepared: Callable[[tuple[str, ...]], Path], tmp_path: Path) -> None:
    stage = STAGES[name]
    home = shutil.copytree(prepared(stage.before), tmp_path / "undisturbed" / "home")
    taken = size(home)
    stage.work(home)
    wanted, taken = stage.gives(home), size(home) - taken
    failed = 0
    parts = count(1, 8)
    for part in range(parts):  # of the room that it takes, so that it fails early, in the middle, and at the end
        with small_disk(tmp_path / f"disk-{part}", "64m") as disk:
            home = shutil.copytree(prepared(stage.before), disk / "home")
            filler, left = disk / "filler", int(taken * part / parts)
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - left))
            try:
                stage.work(home)
            except Exception as error:  # what the command says of either is one sentence, and exit code 1
                assert isinstance(error, EvoError) or disk_fault(error), repr(error)
                assert "\n" not in str(error)
                failed += 1
            filler.unlink()
            assert [found.says for found in examine(home, WEIGHTS, deep=True) if found.kind == "damaged"] == []
            stage.work(home)
            assert stage.gives(home) == wanted
    assert failed


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
