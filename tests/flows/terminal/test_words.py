"""Version, help, completion, short ids and the table of exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from evoembedding.flows.commands.app import app
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts, retry
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from tests import warm

ROOT = Path(__file__).parents[3]


def evo(home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "EVO_HOME": str(home), "COLUMNS": "100", **environ}
    return warm.run(words, settings)


def complete(home: Path, line: str) -> list[str]:
    asked = {"_EVO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = evo(home, **asked)
    assert not done.stderr
    return done.stdout.split()


def test_version_and_help_need_no_state_folder(tmp_path: Path) -> None:
    home = tmp_path / "none"
    for words, says in (
        (["--version"], "evo"),
        (["-h"], "Usage: evo"),
        (["dataset", "list", "-h"], "Usage: evo dataset"),
    ):
        done = evo(home, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(says)
    assert complete(home, "evo shard s") == complete(home, "evo trace model-") == []
    assert complete(home, "evo synthesize d") == ["demo"]


def test_a_shell_is_offered_what_is_there(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        commit_drafts(warehouse, simulate(SimulatorConfig(contexts=2), 0, 2))
        one = warehouse.query("SELECT context_id FROM lake.contexts ORDER BY ALL")["context_id"][0]
    assert complete(tmp_path, f"evo trace {one[:8]}") == [one]
    (tmp_path / "warehouse" / "catalog.sqlite").write_bytes(b"damaged")
    assert complete(tmp_path, f"evo trace {one[:8]}") == []


def test_retry_without_teachers_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvoError, match="'demo' has no teacher"):
        retry.fn(recipe("demo"), home=tmp_path)


def test_the_table_of_exit_codes_knows_every_command() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    table = page.split("## Exit codes")[1].split("## Ctrl-C")[0]
    told = {
        name
        for line in table.splitlines()
        if line.startswith("| `evo")
        for name in re.findall(r"`evo ([a-z -]+)`", line)
    }
    assert told == set(names(typer.main.get_command(app)))


def names(group: Any, before: str = "") -> list[str]:
    return [
        full
        for name, command in group.commands.items()
        for full in (names(command, f"{before}{name} ") if hasattr(command, "commands") else [f"{before}{name}"])
    ]


def test_help_waits_for_no_library_of_the_work() -> None:
    heavy = {"deepspeed", "duckdb", "openai", "polars", "prefect", "torch", "transformers"}
    look = f"import sys, evoembedding.flows.commands.app; print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
