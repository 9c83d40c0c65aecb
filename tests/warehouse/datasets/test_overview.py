"""What a report tells of a version: a funnel that adds up, samples from everywhere, sources and models."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Verdict
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.overview import _spread, documents_by_generator, models_of, samples, version_funnel
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from evoembedding.warehouse.lineage.trace import documents_of
from evoembedding.warehouse.shards.shard_sets import build_shards
from tests.warehouse.world import add_model, make_partition


@pytest.fixture(scope="module")
def version(warehouse: Warehouse) -> DatasetVersion:
    """Thirty episodes less one that curation left out; two more came after it was published."""
    out = Verdict(
        question_id="q-0003-0",
        check_name="contaminated",
        passed=False,
        reason="a benchmark holds it",
        fingerprint="curated",
        episode_id="ep-0003",
    )
    warehouse.append("verdicts", to_frame(Verdict, [out]))
    made = publish(warehouse, "overview", "{}", None, EpisodeFilter(curation="curated"))
    warehouse.append_all(make_partition(30, 32))
    return made


def test_every_drafted_question_has_one_outcome(warehouse: Warehouse, version: DatasetVersion) -> None:
    rows = version_funnel(warehouse, version)
    assert rows.rows() == [
        ("cloze", "left out", "contaminated", "", 1),
        ("cloze", "not in this version", "", "", 1),
        ("cloze", "published", "", "", 14),
        ("cloze", "rejected", "unique", "duplicate", 16),
        ("simulator", "not in this version", "", "", 1),
        ("simulator", "published", "", "", 15),
        ("simulator", "rejected", "unique", "duplicate", 16),
    ]
    assert rows["questions"].sum() == warehouse.query("SELECT count(*) FROM questions").item()


def test_reasons_with_numbers_are_counted_together_and_rare_ones_too(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        frames = make_partition(0, 20)
        # Ten rejections tell a number, of the ten others each a name.
        reasons = [f"outside 0..{n}" if n % 4 < 2 else f"like {'abcdefghijklmnopqrst'[n // 2]}" for n in range(40)]
        told = pl.when("passed").then(pl.lit("")).otherwise(pl.Series(reasons)).alias("reason")
        warehouse.append_all({**frames, "verdicts": frames["verdicts"].with_columns(told)})
        rows = version_funnel(warehouse, publish(warehouse, "d", "{}", None, EpisodeFilter()))
    rejected = rows.filter(pl.col("outcome") == "rejected")
    assert rejected["questions"].sum() == 20
    # Contexts with even numbers are the simulator's.
    assert rejected.filter(pl.col("generator") == "simulator")["reason"].to_list() == ["outside n..n"]
    assert rejected.filter(pl.col("generator") == "cloze").rows() == [
        ("cloze", "rejected", "unique", "other reasons", 5),
        *(("cloze", "rejected", "unique", f"like {letter}", 1) for letter in "bdfhj"),
    ]


def test_samples_are_of_the_version_and_the_same_every_time(warehouse: Warehouse, version: DatasetVersion) -> None:
    found = samples(warehouse, version, 6)
    assert [(s.episode.episode_id, s.kind) for s in found] == [("ep-0001", "web"), ("ep-0000", "dialogue")]
    assert all(len(s.segments) == s.episode.segments for s in found)
    assert samples(warehouse, version, 6) == found
    assert len(samples(warehouse, version, 1)) == 1


def test_samples_are_spread() -> None:
    lists = [["a0"], [f"b{n}" for n in range(10)], [f"c{n}" for n in range(100)]]
    assert _spread(lists, 7) == ["a0", "b0", "b3", "b6", "c0", "c33", "c66"]
    assert _spread(lists, 2) == ["a0", "b0"]
    assert _spread([], 5) == []


def test_documents_and_models(
    warehouse: Warehouse,
    version: DatasetVersion,
    tokenizer: EpisodeTokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    documents = documents_of(warehouse, version.dataset_id)["source_id"].to_list()
    assert (len(documents), documents[:2]) == (14, ["pep-0001", "pep-0005"])
    assert documents_by_generator(warehouse, version) == {"cloze": 14}
    assert models_of(warehouse, version.dataset_id) == []
    add_model(warehouse, build_shards(warehouse, version, tokenizer, warehouse.home / "shards").shard_set_id)
    (model,) = models_of(warehouse, version.dataset_id)
    assert (model["model_id"], model["steps"]) == ("model-1", 5)
    assert [(s["benchmark"], s["value"]) for s in model["scores"]] == [("heldout", 0.75)]
