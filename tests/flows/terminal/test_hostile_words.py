"""A thousand command lines that nobody means: no traceback, nothing that acts on a terminal, a known exit code."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from evoembedding.flows.build_dataset import publish_version
from evoembedding.flows.commands.app import app
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import list_versions
from tests.soak import count
from tests.warm import run, run_each

CODES = {0, 1, 2, 3}
LONGEST = 8000  # characters that a command may say of a mistake, usage and progress included
# What acts on a terminal: control characters and C1, directions, and half characters.
ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HOSTILE = [
    "",
    " ",
    "-",
    "--",
    "..",
    "../x",
    "/dev/null",
    "/proc/self/mem",
    "~",
    "*",
    "[a-z]",
    "%s%n{}{0}",
    "a'; drop table episodes; --",
    "$(id)",
    "@",
    "a@b@c",
    "d@0",
    "d@99999999999999999999",
    "d@-1",
    "[/red][bold]",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "abc\u202edcba",
    "\u2066x\u2069",
    "a\nb",
    "a\tb",
    "a\rb",
    "\x7f",
    "caf\udce9.txt",
    "🙂",
    "日本",
    "e\u0301" * 50,
    "x" * 10_000,
    "y z " * 2_500,
    "0",
    "-1",
    "1e309",
    "nan",
    "9" * 400,
    "true",
    "http://",
    "http://[",
    "http://127.0.0.1:9/v1",
    "ctx-0",
    "ep-",
    "model-0a1b",
    "None",
]
GOOD = ["d@1", "d@2", "d", "smallest", "heldout", "locomo", "tiny", "1", "2", "stable"]
# These start servers or a whole pipeline, whatever else is said.
LEFT_OUT = {("demo",), ("teacher", "serve")}


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every command with its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        elif (*words, name) not in LEFT_OUT:
            yield (
                (*words, name),
                [option for parameter in command.params for option in parameter.opts if option[0] == "-"],
            )


def command_lines(number: int, seed: int) -> list[tuple[str, ...]]:
    """Commands with words that mean something and words that do not."""
    rng = random.Random(seed)
    every = list(commands(typer.main.get_command(app)))
    lines = []
    for _ in range(number):
        words, options = rng.choice(every)
        line = [*words] if rng.random() < 0.95 else [rng.choice(HOSTILE)]
        for _ in range(rng.randrange(4)):
            if options and rng.random() < 0.4:
                line.append(rng.choice(options))
            line.append(rng.choice(GOOD if rng.random() < 0.4 else HOSTILE))
        lines.append(tuple(line))
    return lines


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    small = recipe("smallest").replace(name="small", cloze=None)
    for stop in (10, 14):
        with Warehouse.open(folder) as warehouse:
            commit_drafts(warehouse, simulate(SimulatorConfig(contexts=stop), 0, stop))
        publish_version.fn(folder, "d", small.replace(simulator=SimulatorConfig(contexts=stop)))
    return folder


def environment(home: Path) -> dict[str, str]:
    nowhere = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    return {**os.environ, "EVO_HOME": str(home), "OMP_NUM_THREADS": "1", **nowhere}


def held(words: tuple[str, ...], code: int, out: str, err: str) -> None:
    assert code in CODES, (words, code, err)
    assert "Traceback" not in out + err, (words, err)
    assert not ACTS.search(out + err), (words, out, err)
    assert code == 0 or err.strip(), words
    assert len(err) < LONGEST, (words, len(err))


@pytest.mark.slow
def test_no_command_line_does_more_than_it_says(home: Path, tmp_path: Path) -> None:
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    number = count(60, 1000)
    lines = command_lines(number, seed=1)
    for start in range(0, number, 200):
        some = lines[start : start + 200]
        for words, (code, out, err) in zip(some, run_each(some, environment(home), here), strict=True):
            held(words, code, out, err)
    with Warehouse.open(home) as warehouse:
        assert {"d@1", "d@2"} <= {version.label for version in list_versions(warehouse)}


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", ""),
        ("dataset", "publish", "d", "--decontaminate", ""),
        ("evaluate", "m", "--path="),
        ("trace", "caf\udce9"),
        ("no-such-\x1b[31mcommand",),
        ("train", "d@1", "--steps", "\u202e9" * 5000),
    ],
)
def test_a_process_refuses_them_as_well(home: Path, words: tuple[str, ...]) -> None:
    done = run(words, environment(home))
    assert done.returncode == 2
    held(words, done.returncode, done.stdout, done.stderr)
