"""A state folder whose path is a pattern, and no home folder: paths are names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evoembedding.flows.build_dataset import publish_version, shard_version
from evoembedding.flows.commands.doctor import WEIGHTS
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.synth.simulator import simulate
from evoembedding.trainer.training.rows import Rows
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.upkeep.doctor import examine

OPEN = "import pathlib, sys; from evoembedding import Warehouse; Warehouse.open(pathlib.Path(sys.argv[1])).close()"


@pytest.mark.parametrize("name", ["notes [draft]", "a*b?c", "100% {x,y} 'q'", 'a#b;c&d "q"\nline $HOME'])
def test_a_path_is_no_pattern(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    small = recipe("smallest").replace(name="small", cloze=None, simulator=SimulatorConfig(contexts=8))
    with Warehouse.open(home) as warehouse:
        commit_drafts(warehouse, simulate(small.simulator, 0, 8))
    publish_version.fn(home, "small", small)
    shards = shard_version.fn(home, "small@1", small.train.model)
    rows = Rows(home / "shards" / shards.shard_set_id)
    assert len(rows.tokens) == shards.rows == len(rows.read(range(shards.rows)))
    assert list(examine(home, WEIGHTS, deep=True)) == []


@pytest.mark.parametrize("place", [None, "/proc/nohome"])
def test_no_home_folder_is_needed(tmp_path: Path, place: str | None) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "HOME"}
    for program in (OPEN, "import evoembedding.flows.settings, os; assert os.access(os.environ['HOME'], os.W_OK)"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env={**environ, "EVO_HOME": str(tmp_path), **({"HOME": place} if place else {})},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
