"""A home that was copied or moved, while the one that it came from can be read no more: every command works on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evoembedding.schemas.files import file_digest
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import list_versions
from tests import warm
from tests.runs import curve

pytestmark = pytest.mark.slow
Evo = Callable[..., str]
TRAIN = ("train", "smallest@1", "--recipe", "smallest", "--steps", "40")


class World(NamedTuple):
    """Where the original was, a copy of it, its model, and the run that was killed after its first checkpoint."""

    original: Path
    copy: Path
    model: str
    killed: str
    backup: Path  # taken while that run went on


def environ(home: Path, prefect_url: str) -> dict[str, str]:
    return {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url, "COLUMNS": "400"}


@pytest.fixture(scope="module")
def evo(prefect_url: str) -> Evo:
    """Runs a command that has to end well; what it said."""

    def run(home: Path, *words: str) -> str:
        done = warm.run(words, environ(home, prefect_url))
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    return run


@pytest.fixture(scope="module")
def world(demo: Any, tmp_path_factory: pytest.TempPathFactory, prefect_url: str, evo: Evo) -> Iterator[World]:
    """Built on a file system of its own, which is unmounted: file modes prove nothing to a test that runs as root."""
    folder = tmp_path_factory.mktemp("moved")
    original, home, copy = folder / "mounted", folder / "mounted" / "home", folder / "copy"
    original.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(original)], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    with ExitStack() as mounted:
        mounted.callback(subprocess.run, ["umount", "-l", str(original)], capture_output=True)
        demo.copy(home)
        evo(home, "dataset", "tag", "smallest@1", "stable")
        (model,) = ids(home, "model")
        before = {path.name for path in (home / "runs").iterdir()}
        with subprocess.Popen(warm.command(*TRAIN), env=environ(home, prefect_url), stderr=subprocess.PIPE) as training:
            while not begun(home, before):
                assert training.poll() is None
                time.sleep(0.05)
            evo(home, "backup", str(folder / "backup"))
            assert training.poll() is None
            training.kill()
        (killed,) = {path.name for path in (home / "runs").iterdir()} - before
        shutil.copytree(home, copy)
    assert not any(original.iterdir())
    yield World(original, copy, model, killed, folder / "backup")


def begun(home: Path, before: set[str]) -> list[Path]:
    """Checkpoints of the sixth step in runs that were not there before."""
    found = home.glob("runs/*/checkpoints/step-00000006")
    return [path for path in found if path.parts[-3] not in before]


def ids(home: Path, kind: str) -> list[str]:
    with Warehouse.open(home) as warehouse:
        return warehouse.query(f"SELECT {kind}_id FROM lake.{kind}s ORDER BY ALL").to_series().to_list()


def damaged(told: str) -> list[str]:
    return [finding["says"] for finding in json.loads(told) if finding["kind"] == "damaged"]


def test_every_command_works_on_a_copy(world: World, evo: Evo, tmp_path: Path, prefect_url: str) -> None:
    copy = world.copy
    steps = curve(copy / "runs" / world.killed)
    assert [step for step, _ in steps][:6] == [1, 2, 3, 4, 5, 6]
    assert "Everything is done already" in evo(copy, "demo", "--smallest")
    assert damaged(evo(copy, "doctor", "--deep", "--json")) == []
    trained = json.loads(evo(copy, *TRAIN, "--json"))
    assert trained["place"] == f"runs/{world.killed}/model"
    assert Path(trained["path"]) == copy / trained["place"]
    assert file_digest(Path(trained["path"]) / "model.safetensors") == trained["digest"]
    assert curve(copy / "runs" / world.killed)[:6] == steps[:6]  # it went on from the checkpoint
    restored = tmp_path / "restored"
    # As a process: a fork has Prefect's settings read, which makes its folder in a home that has to be empty.
    words = warm.command("restore", str(world.backup))
    subprocess.run(words, env=environ(restored, prefect_url), check=True, capture_output=True)
    (tmp_path / "quillon.md").write_text("# Quillon\n\nThe ferry to Wexholm runs twice a day.\n")
    assert "1 new" in evo(restored, "ingest", str(tmp_path / "quillon.md"), "--sync")
    assert damaged(evo(restored, "doctor", "--deep", "--json")) == []
    (document, *_), (context, *_) = ids(copy, "document"), ids(copy, "context")
    for words in (
        ("evaluate", trained["model_id"], "--recipe", "smallest"),
        ("report", world.model),
        ("report", "smallest@1"),
        ("trace", world.model, "--json"),
        ("trace", context, "--as-of", "smallest@1"),
        ("impact", document),
        ("impact", document, "--withdraw", "--dry-run"),
        ("plan", "smallest"),
        ("dataset", "list"),
        ("dataset", "show", "smallest@stable"),
        ("dataset", "funnel"),
        ("dataset", "export", "smallest@1", str(tmp_path / "exported")),
        ("dataset", "import", str(tmp_path / "exported"), "again"),
        ("dataset", "diff", "smallest@1", "again@1"),
        ("shard", "smallest@1", "--recipe", "smallest"),
        ("shard", "smallest@1", "--recipe", "smallest", "--force"),
        ("dataset", "publish", "smallest", "--recipe", "smallest"),
        ("dataset", "expire"),
        ("dataset", "expire", "again@1", "--yes"),
        *(("model", "register", model, "support") for model in (world.model, trained["model_id"])),
        *(("model", "promote", f"support@{n}", "--force", "--why", "to go back from it") for n in (1, 2)),
        ("model", "rollback", "support"),
        ("retrain", "support", "--recipe", "smallest", "--dry-run"),
        ("status",),
        ("report",),
        ("run", "list"),
        ("teacher", "ledger"),
        ("lineage", "events"),
        ("doctor", "--deep", "--remove-orphans", "--older-than", "0"),
    ):
        told = evo(copy, *words)
        assert str(world.original) not in told or words[0] == "lineage", words  # events are facts of a run


def test_it_can_be_moved_again(world: World, evo: Evo) -> None:
    moved = world.copy.with_name("moved")
    world.copy.rename(moved)
    assert damaged(evo(moved, "doctor", "--deep", "--json")) == []
    assert "Everything is done already" in evo(moved, "demo", "--smallest")
    assert str(moved / "shards") in evo(moved, "shard", "smallest@1", "--recipe", "smallest")
    evo(moved, "evaluate", world.model, "--recipe", "smallest")
    moved.rename(world.copy)


def test_what_a_copy_expires_the_original_keeps(world: World, evo: Evo, tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    for home in (original, copy):
        shutil.copytree(world.copy, home)
    files = {path: file_digest(path) for path in original.rglob("*") if path.is_file()}
    evo(copy, "dataset", "expire", "smallest@1", "--force", "--forget-past", "--yes")
    assert {path: file_digest(path) for path in original.rglob("*") if path.is_file()} == files
    with Warehouse.open(copy) as warehouse:
        (version,) = [version for version in list_versions(warehouse) if version.label == "smallest@1"]
        query = "SELECT place FROM lake.shard_sets WHERE dataset_id = ?"
        places = warehouse.query(query, (version.dataset_id,))["place"].to_list()
    assert places
    assert not any((copy / place).exists() for place in places)
    assert all((original / place).exists() for place in places)
