"""Named models: one namespace, versions that are given once, aliases that move and keep every move."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import ModelRecord, TrainingRun
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.registry import GateRow
from evoembedding.schemas.shard import EpisodeTokenizer
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, as_of, publish
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.trace import trace
from evoembedding.warehouse.lineage.withdrawal import withdraw
from evoembedding.warehouse.registry.aliases import remove_alias, set_alias
from evoembedding.warehouse.registry.gates import keep
from evoembedding.warehouse.registry.history import history
from evoembedding.warehouse.registry.labels import aliases, folder_of, identity_of, labels_of, model_of
from evoembedding.warehouse.registry.promotion import promote, rollback
from evoembedding.warehouse.registry.states import standings
from evoembedding.warehouse.registry.versions import check_free, register
from evoembedding.warehouse.shards.shard_sets import build_shards
from evoembedding.warehouse.tables import TABLES
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.upkeep.retention import expire
from tests.records import gate_row, trained_model, training_run
from tests.warehouse.world import make_partition, opened_copy

HOSTILE = ["../x", "a'; drop table models; --", "🙂", "x" * 300, "", "A", "a@b", "a\n", "a/b", " a", "-a"]
MODELS = ("0a1b", "0a2c", "3d")


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: EpisodeTokenizer,
) -> Path:
    """Three models, trained on `told@1`, with a folder each; none has a name."""
    home: Path = tmp_path_factory.mktemp("made")
    with Warehouse.open(home) as opened:
        opened.append_all(make_partition(0, 4))
        shards = build_shards(opened, publish(opened, "told", "{}", None, EpisodeFilter()), tokenizer, home / "shards")
        opened.append_all(
            {
                "training_runs": to_frame(TrainingRun, [training_run(name, shards.shard_set_id) for name in MODELS]),
                "models": to_frame(ModelRecord, [trained_model(name) for name in MODELS]),
            }
        )
    for name in MODELS:
        (home / trained_model(name).place).mkdir(parents=True)
    return home


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """A copy of it."""
    with opened_copy(made, tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A copy with the three as `support`, which its tests ask and do not change."""
    home = Path(shutil.copytree(made, tmp_path_factory.mktemp("shared") / "home"))
    with Warehouse.open(home) as opened:
        named(opened)
        yield opened


def named(warehouse: Warehouse, *models: str) -> None:
    for model in models or MODELS:
        register(warehouse, trained_model(model), "support", "me")


def moves_of(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query("SELECT * FROM lake.model_aliases WHERE name = 'support' ORDER BY rowid")


def states(warehouse: Warehouse) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(one.version.number, one.state, one.aliases) for one in standings(warehouse, "support")]


def test_a_model_has_one_number_in_a_name_and_any_number_of_names(warehouse: Warehouse) -> None:
    first, new = register(warehouse, trained_model("0a1b"), "support", "me")
    assert (first.label, new) == ("support@1", True)
    second, _ = register(warehouse, trained_model("0a2c"), "support", "me")
    snapshot = warehouse.snapshot()
    assert register(warehouse, trained_model("0a1b"), "support", "you") == (first, False)
    assert warehouse.snapshot() == snapshot
    assert register(warehouse, trained_model("0a1b"), "sales", "me")[0].label == "sales@1"
    assert aliases(warehouse, "support") == {"candidate": 2}
    assert labels_of(warehouse, "model-0a1b") == ["sales@1", "sales@candidate", "support@1"]
    for text, model in (
        ("support", "0a2c"),
        ("support@1", "0a1b"),
        ("support@candidate", "0a2c"),
        ("model-0a1b", "0a1b"),
        ("model-3", "3d"),
    ):
        assert identity_of(warehouse, text) == f"model-{model}"
    with pytest.raises(EvoError, match="beginning of several: model-0a1b, model-0a2c"):
        identity_of(warehouse, "model-0a")
    assert trace(warehouse, identity_of(warehouse, "support@2")).facts["named"] == "support@2, support@candidate"
    assert second.registered_by == "me"


def test_a_name_is_a_datasets_or_a_models(warehouse: Warehouse) -> None:
    with pytest.raises(EvoError, match=r"'told' is the name of a dataset .* no model was registered"):
        register(warehouse, trained_model("3d"), "told", "me")
    with pytest.raises(EvoError, match="name of a dataset"):
        check_free(warehouse, "told")
    named(warehouse, "3d")
    with pytest.raises(EvoError, match=r"'support' is the name of a model .* no dataset was published"):
        publish(warehouse, "support", "{}", None, EpisodeFilter())
    assert warehouse.query("SELECT DISTINCT name FROM dataset_versions")["name"].to_list() == ["told"]
    assert warehouse.query("SELECT DISTINCT name FROM registered_models")["name"].to_list() == ["support"]


def test_promotion_needs_a_gate_against_the_champion_of_today(warehouse: Warehouse) -> None:
    named(warehouse)
    with pytest.raises(
        EvoError, match=r"no gate has judged support@1; nothing was promoted; 'evo gate support@1' does"
    ):
        promote(warehouse, "support@1", "me")
    keep(warehouse, [gate_row("gate-1", "model-0a1b", passed=None)])
    done = promote(warehouse, "support@1", "me", "the first")
    assert (done.version.label, done.before, done.new, done.gate_id) == ("support@1", "", True, "gate-1")
    keep(warehouse, [gate_row("gate-2", "model-0a2c", passed=None)])
    with pytest.raises(EvoError, match="no gate has judged support@2 against the champion, support@1"):
        promote(warehouse, "support@2", "me")  # what let it through compared it with nothing
    keep(warehouse, [gate_row("gate-3", "model-0a2c", "model-0a1b")])
    assert promote(warehouse, "support@2", "me").gate_id == "gate-3"
    refused = [
        gate_row("gate-4", "model-3d", "model-0a2c", passed=False, reason="it is worse by 0.200 at most"),
        gate_row("gate-4", "model-3d", "model-0a2c", rule=2, severity="warn", passed=False, metric="MRR"),
    ]
    keep(warehouse, refused)
    before = moves_of(warehouse)
    with pytest.raises(
        EvoError, match=r"gate gate-4 refused support@3 .*\(nDCG@10 on all: it is worse by 0.200"
    ) as told:
        promote(warehouse, "support@3", "me")
    assert "MRR" not in str(told.value)
    assert moves_of(warehouse).equals(before)
    assert states(warehouse) == [
        (1, "previous", ("previous",)),
        (2, "champion", ("champion",)),
        (3, "refused", ("candidate",)),
    ]
    assert promote(warehouse, "support@2", "me").new is False
    forced = promote(warehouse, "support@candidate", "me", "it has to", force=True)
    assert (forced.gate_id, forced.before) == ("", "support@2")
    assert [state for _, state, _ in states(warehouse)] == ["replaced", "previous", "champion"]


def test_the_newest_gate_between_the_two_decides(warehouse: Warehouse) -> None:
    named(warehouse, "0a1b", "0a2c")
    promote(warehouse, "support@1", "me", "the first", force=True)
    keep(warehouse, [gate_row("gate-1", "model-0a2c", "model-0a1b")])
    keep(warehouse, [gate_row("gate-2", "model-0a2c", "model-0a1b", passed=False)])
    with pytest.raises(EvoError, match="gate-2 refused"):
        promote(warehouse, "support@2", "me")


def test_rollback_goes_back_step_by_step_and_keeps_history(warehouse: Warehouse) -> None:
    named(warehouse)
    with pytest.raises(EvoError, match="it has none"):
        rollback(warehouse, "support", "me")
    for number in (1, 2, 3):
        promote(warehouse, f"support@{number}", "me", "try", force=True)
    done = rollback(warehouse, "support", "me", "users complain")
    assert (done.version.label, done.before) == ("support@2", "support@3")
    assert aliases(warehouse, "support") == {"champion": 2, "previous": 1}
    rollback(warehouse, "support", "me")
    assert aliases(warehouse, "support") == {"champion": 1}
    with pytest.raises(EvoError, match="support@1 is its first"):
        rollback(warehouse, "support", "me")
    promote(warehouse, "support@3", "me", "once more", force=True)
    assert aliases(warehouse, "support") == {"champion": 3, "previous": 1}
    moves = moves_of(warehouse).filter(pl.col("alias") == "champion")
    assert moves.select("number", "move", "reason").rows() == [
        (1, "promoted", "try"),
        (2, "promoted", "try"),
        (3, "promoted", "try"),
        (2, "rolled back", "users complain"),
        (1, "rolled back", ""),
        (3, "promoted", "once more"),
    ]
    told = history(warehouse, "support")
    assert [event.what for event in told if event.alias == "champion"] == [
        *["forced"] * 3,
        *["rolled back"] * 2,
        "forced",
    ]
    assert rollback(warehouse, "support", "me").version.label == "support@1"


def test_aliases_of_ones_own_move_and_those_of_promotion_do_not(warehouse: Warehouse) -> None:
    named(warehouse)
    set_alias(warehouse, "support@1", "stable", "me", "liked")
    set_alias(warehouse, "support@stable", "canary", "me")
    snapshot = warehouse.snapshot()
    set_alias(warehouse, "support@1", "stable", "me")
    assert warehouse.snapshot() == snapshot
    remove_alias(warehouse, "support", "canary", "me")
    assert aliases(warehouse, "support") == {"candidate": 3, "stable": 1}
    with pytest.raises(EvoError, match="no alias 'canary'; nothing was removed"):
        remove_alias(warehouse, "support", "canary", "me")
    for alias in ("champion", "previous"):
        with pytest.raises(EvoError, match="'evo model promote' and 'evo model rollback' move it"):
            set_alias(warehouse, "support@1", alias, "me")
        with pytest.raises(EvoError, match="'evo model promote' and 'evo model rollback' move it"):
            remove_alias(warehouse, "support", alias, "me")


@pytest.mark.parametrize("text", ["support@9", "support@champion", "support@", "support@01", "support@0", *HOSTILE])
def test_what_no_model_is_called_is_one_sentence(shared: Warehouse, text: str) -> None:
    with pytest.raises(EvoError) as told:
        model_of(shared, text)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
    if text.startswith("support"):
        assert "its versions are 1 to 3, its aliases: candidate" in str(told.value)


@pytest.mark.parametrize("name", [*HOSTILE, "model-1", "ep-0a1b", "run-00"])
def test_names_that_are_not_allowed(shared: Warehouse, name: str) -> None:
    with pytest.raises(EvoError, match="nothing was registered"):
        register(shared, trained_model("3d"), name, "me")


@pytest.mark.parametrize("alias", [*HOSTILE, "1", "007"])
def test_aliases_that_are_not_allowed(shared: Warehouse, alias: str) -> None:
    with pytest.raises(EvoError, match="is not allowed; nothing was changed"):
        set_alias(shared, "support@1", alias, "me")


def test_a_model_whose_folder_is_gone_is_named_and_never_made_the_champion(warehouse: Warehouse) -> None:
    named(warehouse)
    promote(warehouse, "support@1", "me", "first", force=True)
    promote(warehouse, "support@2", "me", "second", force=True)
    for model in MODELS:
        shutil.rmtree(warehouse.home / trained_model(model).place)
    says = r"folder of model model-0a2c \(support@2, support@champion\) is gone: .*restore it from a copy"
    with pytest.raises(EvoError, match=says):
        folder_of(warehouse, model_of(warehouse, "support@champion"))
    with pytest.raises(EvoError, match=r"is gone: .*; nothing was promoted"):
        promote(warehouse, "support@3", "me", "x", force=True)
    with pytest.raises(EvoError, match=r"is gone: .*; support@2 stays the champion"):
        rollback(warehouse, "support", "me")
    with pytest.raises(EvoError, match=r"is gone: .*; nothing was registered"):
        register(warehouse, trained_model("3d"), "sales", "me")
    assert aliases(warehouse, "support") == {"candidate": 3, "champion": 2, "previous": 1}


def test_promotions_at_once_are_one_after_the_other(warehouse: Warehouse) -> None:
    named(warehouse)
    labels = [f"support@{number}" for number in (1, 2, 3)]
    threads = [threading.Thread(target=promote, args=(warehouse, one, "me", "x", True)) for one in labels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moves = moves_of(warehouse)
    champions = moves.filter(pl.col("alias") == "champion")["number"].to_list()
    assert sorted(champions) == [1, 2, 3]
    assert aliases(warehouse, "support") == {"champion": champions[2], "previous": champions[1]}
    assert moves.select("alias", "sequence").is_unique().all()


def test_doctor_finds_names_and_gates_that_lead_nowhere(warehouse: Warehouse) -> None:
    named(warehouse, "0a1b")
    keep(warehouse, [gate_row("gate-1", "model-0a1b")])
    assert not [one for one in examine(warehouse.home, "model.safetensors") if one.what == "rows"]
    warehouse.transaction(lambda con: con.execute("UPDATE lake.model_aliases SET number = 7, gate_id = 'gate-0'"))
    warehouse.transaction(lambda con: con.execute("UPDATE lake.registered_models SET model_id = 'x', name = 'told'"))
    warehouse.append("gate_rules", to_frame(GateRow, [gate_row("gate-2", "model-0a1b", "model-none")]))
    told = {one.name: one.says for one in examine(warehouse.home, "model.safetensors") if one.what == "rows"}
    assert set(told) == {
        "names without their model",
        "aliases without their version",
        "promotions without their gate",
        "gates without their models",
        "names of a dataset and of a model",
    }
    assert "gate-2" in told["gates without their models"]


def test_what_a_champion_was_trained_on_is_known_to_be_in_use(warehouse: Warehouse) -> None:
    named(warehouse, "0a1b")
    promote(warehouse, "support@1", "me", "first", force=True)
    with pytest.raises(EvoError, match=r"model-0a1b \(support@1, support@champion\)"):
        expire(warehouse, ["told@1"])
    done = withdraw(warehouse, "ctx-0000", "asked to", "me", "abc")
    assert "model-0a1b" in done.retrain
    (named_node,) = [
        run.children[0]
        for run in impact(warehouse, "told@1").children[0].children
        if run.children[0].id == "model-0a1b"
    ]
    assert named_node.facts["named"] == "support@1, support@champion"


def test_as_of_a_time_without_a_registry_no_model_has_a_name(warehouse: Warehouse) -> None:
    named(warehouse)
    with as_of(warehouse.home, "told@1") as then:
        assert labels_of(then, "model-0a1b") == []
    snapshot = warehouse.snapshot()
    warehouse.transaction(lambda con: con.execute("DROP TABLE lake.registered_models"))
    with Warehouse.open(warehouse.home, at=warehouse.snapshot()) as without:
        assert identity_of(without, "support@1") == "support@1"
    with Warehouse.open(warehouse.home) as again:
        assert again.snapshot() > snapshot
        assert set(
            again.query("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'")["table_name"]
        ) == set(TABLES)
