"""Light commands as processes of their own, for what a fork of `tests.warm` cannot prove: that they import what they
use, read their settings before Prefect does, and end as Python ends.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from tests.warm import command

COMMANDS = {
    "dataset list": "small@1  12 episodes",
    "doctor": "all is well",
    "plan smallest": "Plan: items by stage",
    "trace small@1": "dataset small@1 (episodes: 12",
    "impact CONTEXT": "small@1",
    "lineage events": "no run has told OpenLineage anything yet",
    "teacher ledger": "no teacher has answered a call yet",
    "report small@1": "report: ",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated contexts, published as small@1."""
    folder: Path = tmp_path_factory.mktemp("small") / "home"
    with Warehouse.open(folder) as warehouse:
        commit_drafts(warehouse, simulate(SimulatorConfig(contexts=2), 0, 2))
        publish(warehouse, "small", recipe("smallest").model_dump_json(), "unknown", EpisodeFilter())
    return folder


def environment(home: Path) -> dict[str, str]:
    """What a user has: none of Prefect's settings, which this process has made for itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "EVO_HOME": str(home), "COLUMNS": "200"}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_light_command_ends_well_and_quietly(line: str, home: Path) -> None:
    with Warehouse.open(home) as warehouse:
        context = warehouse.query("SELECT min(context_id) FROM lake.contexts").item()
    words = line.replace("CONTEXT", context).split()
    done = subprocess.run(command(*words), env=environment(home), capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert COMMANDS[line] in done.stdout
