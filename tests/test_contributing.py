"""CONTRIBUTING.md does what it says: its steps are carried out in a copy of the tree, and what they add is used.

Each section under "Add a thing" is a test. What it may hold, a paragraph each, in the order in which it is done:

    New file `PATH`:                                     and a block of code
    In `PATH`, after `BEGINNING OF A LINE`:              and a block of code; ``, where the line has a `
    Run `COMMAND`                                        at the top of the copy
    To try it, a file `NAME`:                            and a block, for the commands after it
    Try `COMMAND`: it says `TEXT`.                       or: it fails, and says `TEXT`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from docs.make.pages import PAGES
from evoembedding.flows.build_dataset import publish_version, shard_version
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import ModelRecord, TrainingRun
from evoembedding.schemas.files import file_digest
from evoembedding.synth.simulator import simulate, simulators
from evoembedding.trainer.identity import training_run_id
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import save_model
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer
from evoembedding.warehouse.catalog import Warehouse
from tests.records import trained_model, training_run
from tests.soak import SOAKING, only_soaking

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CODE = r":\n\n```\w*\n(?P<code>.*?)```$"
FORMS = {
    "new": rf"New file `(?P<path>[^`]+)`{CODE}",
    "insert": rf"In `(?P<path>[^`]+)`, after (?P<mark>``?)(?P<after>[^\n]+?)(?P=mark){CODE}",
    "run": r"Run `(?P<command>[^`]+)`",
    "sample": rf"To try it, a file `(?P<path>[^`]+)`{CODE}",
    "works": r"Try `(?P<command>[^`]+)`: it says `(?P<says>[^`]+)`\.$",
    "fails": r"Try `(?P<command>[^`]+)`: it fails, and says `(?P<says>[^`]+)`\.$",
}
BEGINNINGS = re.compile(r"^(?:New file|In `|Run `|To try it|Try `)", re.M)
NOT_COPIED = (".git", ".venv*", ".evo", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "shared", "*.log")
MODEL = "model-1"


class Step(NamedTuple):
    """A paragraph of a section; `kind` is one of FORMS."""

    kind: str
    path: str
    after: str
    code: str
    command: str
    says: str


def sections() -> dict[str, list[Step]]:
    """The steps under each heading of "Add a thing"."""
    _, _, page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Add a thing\n")
    page = re.split(r"^## ", page, flags=re.M)[0]
    named = re.split(r"^### (.+)$", page, flags=re.M)
    return {name: steps(name, text) for name, text in zip(named[1::2], named[2::2], strict=True)}


def steps(name: str, text: str) -> list[Step]:
    found = [
        (match.start(), Step(kind, *(match.groupdict().get(field, "") for field in Step._fields[1:])))
        for kind, form in FORMS.items()
        for match in re.finditer(f"^{form}", text, re.M | re.S)
    ]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    assert len(found) == len(BEGINNINGS.findall(prose)), f"a step of '{name}' is in none of the known forms"
    return [step for _, step in sorted(found)]


def test_every_section_adds_something_and_tries_it() -> None:
    for name, of in sections().items():
        assert {"new", "insert"} & {step.kind for step in of}, name
        assert {"works", "fails"} & {step.kind for step in of}, name


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a small dataset `d@1` and a model of random weights, as if trained on it."""
    home = tmp_path_factory.mktemp("home")
    small = recipe("smallest")
    small = small.replace(simulator=small.simulator.replace(contexts=6))
    with Warehouse.open(home) as warehouse:
        for config in simulators(small):
            commit_drafts(warehouse, simulate(config))
    publish_version.fn(home, "d", small)
    shards = shard_version.fn(home, "d@1", small.train.model)
    tokenizer = EvoTokenizer.load(next((home / "tokenizers").iterdir()))
    run = training_run_id(shards, small.train)
    row = trained_model("1", training_run_id=run)
    save_model(EvoModel(small.train, tokenizer.vocabulary), tokenizer, home / row.place)
    with Warehouse.open(home) as warehouse:
        of_run = training_run("1", shards.shard_set_id).replace(training_run_id=run)
        warehouse.append_all({"training_runs": to_frame(TrainingRun, [of_run]), "models": to_frame(ModelRecord, [row])})
    return home


class Copy(NamedTuple):
    """A copy of the tree, the folder from which commands are tried, and their environment."""

    root: Path
    tried: Path
    environ: dict[str, str]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """`evo` where a user stands, anything else at the top of the copy."""
        program, *words = shlex.split(command.replace("MODEL", MODEL))
        own = {"evo": ["-m", "evoembedding"], "pytest": ["-m", "pytest", "-m", "not slow"], "python": []}[program]
        where = self.tried if program == "evo" else self.root
        return subprocess.run(
            [sys.executable, *own, *words], cwd=where, env=self.environ, capture_output=True, text=True, timeout=900
        )

    def run_each(self, steps: list[Step]) -> None:
        """The commands `evo` of these steps, one after the other in one process of the copy."""
        commands = [shlex.split(step.command.replace("MODEL", MODEL))[1:] for step in steps]
        script = "import json, sys; from tests.warm import each; each(json.loads(sys.argv[1]))"
        words = [sys.executable, "-c", script, json.dumps(commands)]
        done = subprocess.run(words, cwd=self.tried, env=self.environ, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        for step, (code, out, err) in zip(steps, json.loads(done.stdout), strict=True):
            judge(step, code, out, err)

    def files(self) -> dict[str, str]:
        """Digests of all files but what running leaves behind."""
        found = (p for p in self.root.rglob("*") if p.is_file() and not p.is_symlink())
        paths = ((p, p.relative_to(self.root)) for p in found)
        return {str(at): file_digest(p) for p, at in paths if not any(skipped(part) for part in at.parts)}


def skipped(name: str) -> bool:
    return any(Path(name).match(pattern) for pattern in NOT_COPIED)


@pytest.fixture
def copy(tmp_path: Path, home: Path, prefect_url: str) -> Iterator[Copy]:
    root = tmp_path / "tree"
    shutil.copytree(ROOT, root, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (tmp_path / "tried").mkdir()
    environ = {**os.environ, "PYTHONPATH": str(root), "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url}
    yield Copy(root, tmp_path / "tried", {**environ, "COLUMNS": "200"})
    shutil.rmtree(root)


@only_soaking  # all at once, below
@pytest.mark.parametrize("name", sections())
def test_a_thing_is_added_as_the_page_says(name: str, copy: Copy) -> None:
    steps = sections()[name]
    with no_other_file_changed(steps, copy):
        for step in steps:
            do(step, copy)


@pytest.mark.skipif(SOAKING, reason="each by itself, above")
def test_all_things_are_added_beside_each_other(copy: Copy) -> None:
    """First all files, then what is made of them, then what is tried: all of it but tests, of which few run."""
    steps = [step for of in sections().values() for step in of]
    tests = (
        "tests/test_docs.py tests/schemas/test_identity.py tests/synth/test_checks.py tests/evaluation/test_score.py"
    )
    tested = Step("works", "", "", "", f"pytest {tests}", "passed")
    made = [step for step in steps if step.kind in ("new", "insert", "sample")]
    run = {step.command: step for step in steps if step.kind == "run"}
    failing = {step.command: step for step in steps if step.kind == "fails" and step.command.startswith("pytest ")}
    with no_other_file_changed([*made, *run.values()], copy):
        for step in (*made, *run.values(), *failing.values(), tested):
            do(step, copy)
        copy.run_each([step for step in steps if step.command.startswith("evo ")])


@contextmanager
def no_other_file_changed(steps: list[Step], copy: Copy) -> Iterator[None]:
    """Than these steps name."""
    before = copy.files()
    yield
    after = copy.files()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    made = {f"docs/{page}" for page in PAGES} if any(step.command == "python -m docs.make" for step in steps) else set()
    assert changed - made == {step.path for step in steps if step.kind in ("new", "insert")} - made


def do(step: Step, copy: Copy) -> None:
    path = copy.root / step.path
    if step.kind == "new":
        assert path.parent.is_dir() and not path.exists(), step.path
        path.write_text(step.code, encoding="utf-8")
    elif step.kind == "insert":
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        places = [n for n, line in enumerate(lines, 1) if line.strip().startswith(step.after)]
        assert len(places) == 1, f"'{step.after}' begins {len(places)} lines of {step.path}"
        lines.insert(places[0], step.code)
        path.write_text("".join(lines), encoding="utf-8")
    elif step.kind == "sample":
        (copy.tried / step.path).write_text(step.code, encoding="utf-8")
    else:
        done = copy.run(step.command)
        judge(step, done.returncode, done.stdout, done.stderr)


def judge(step: Step, code: int, out: str, err: str) -> None:
    """Whether a command did what the step says of it."""
    assert (code != 0) == (step.kind == "fails"), (step, out, err)
    assert step.says in " ".join((out + err).split()), (step, out, err)
    assert "Traceback" not in err
