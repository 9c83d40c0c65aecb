"""One module, one identity: rooms are `evoembedding.*` in a checkout, its processes and where it is installed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from evoembedding.flows.settings import git_commit, package_version

ROOT = Path(__file__).parents[1]
ROOMS = tuple(sorted(path.name for path in (ROOT / "evoembedding").iterdir() if path.is_symlink()))
FOREIGN = ("schemas", "evaluation", "tests")

# Every Python that finds this on its path tells what it is, and each module that it reads under a room's bare name.
WATCH = f"""
import os, sys
told = open(os.environ["WATCHED"], "a", buffering=1)
def watch(event, what):
    if event == "import" and what[0].partition(".")[0] in {ROOMS!r}:
        told.write(f"bare {{what[0]}}\\n")
sys.addaudithook(watch)
told.write("process " + " ".join(sys.orig_argv).replace("\\n", " ") + "\\n")
"""
# Reads every module of the package, and says which files are modules twice.
ALL = """
import importlib, json, pkgutil, sys
import evoembedding
from pathlib import Path
for found in pkgutil.walk_packages(evoembedding.__path__, "evoembedding."):
    if not found.name.endswith("__main__") and found.name != "evoembedding.flows.terminal.prefect_process":
        importlib.import_module(found.name)
by_file = {}
for name, module in list(sys.modules.items()):
    if getattr(module, "__file__", None) and name != "__main__":
        by_file.setdefault(str(Path(module.__file__).resolve()), set()).add(name)
ours = Path(evoembedding.__file__).resolve().parents[1]
rooms = [str(path.resolve()) + "/" for path in (ours / "evoembedding").iterdir() if path.is_dir()]
twice = {f: sorted(names) for f, names in by_file.items() if len(names) > 1 and f.startswith(tuple(rooms))}
print(json.dumps({"twice": twice, "read": sum(name.startswith("evoembedding.") for name in sys.modules)}))
"""
FLOWS = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
found = [load_flow_from_entrypoint(one, use_placeholder_flow=False) for one in sys.argv[1:]]
print(json.dumps([f"{flow.fn.__module__}.{flow.fn.__name__}" for flow in found]))
"""


def environment(place: Path, home: Path, **more: str) -> dict[str, str]:
    """What a process gets that finds `place` first; its working folder is another."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EVO_HOME")}
    return {**kept, "PYTHONPATH": str(place), "EVO_HOME": str(home), **more}


def python(*words: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_no_source_names_a_room_barely() -> None:
    wrong = []
    for folder in (*ROOMS, "evoembedding", "benchmarks", "docs", "examples", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                wrong += [f"{path}: {name}" for name in names if name.partition(".")[0] in ROOMS]
    assert wrong == []


@pytest.mark.slow
def test_every_module_is_there_once(tmp_path: Path) -> None:
    """All are read in one process: also what commands read late."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    env = environment(ROOT, tmp_path / "home", WATCHED=str(tmp_path / "told"))
    env["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(ROOT)))
    found: dict[str, Any] = json.loads(python("-c", ALL, cwd=tmp_path, env=env).splitlines()[-1])
    assert found["twice"] == {}
    assert found["read"] > 150
    told = (tmp_path / "told").read_text().splitlines()
    assert [line for line in told if line.startswith("bare")] == []
    assert told[0].startswith("process ")


def test_a_worker_loads_the_flows_of_the_package(tmp_path: Path) -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    entrypoints = [one["entrypoint"] for one in deployments]
    assert len(entrypoints) >= 7
    env = environment(ROOT, tmp_path / "home")
    assert json.loads(python("-c", FLOWS, *entrypoints, cwd=tmp_path, env=env).splitlines()[-1]) == entrypoints
    assert not (tmp_path / "home").exists()  # a home whose name is mistyped is not made in passing


class Site(NamedTuple):
    """A folder with the wheel's content beside foreign packages that have the names of ours."""

    folder: Path
    commit: str  # that it was built from, without what says that files differ


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("installed")
    source, wheels, target = place / "source", place / "wheels", place / "site"
    commit = git_commit().removesuffix("+dirty")
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    subprocess.run(["git", "-C", str(source), "checkout", "-q", commit], check=True)
    listed = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).exists() and not (ROOT / name).is_dir():  # as it is here, committed or not
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels), str(source)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = wheels.glob("evoembedding-*.whl")
    for name in FOREIGN:
        (target / name).mkdir(parents=True)
        (target / name / "__init__.py").write_text("WHOSE = 'foreign'\n")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    shutil.rmtree(source)
    return Site(target, commit)


def test_the_wheel_brings_one_package_with_all_its_data(site: Site) -> None:
    brought = {path.name for path in site.folder.iterdir()} - set(FOREIGN)
    assert {name for name in brought if not name.endswith(".dist-info") and name != "bin"} == {"evoembedding"}
    for name in FOREIGN:
        assert [path.name for path in (site.folder / name).iterdir() if path.name != "__pycache__"] == ["__init__.py"]
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True
    )
    ours = [name for name in listed.stdout.splitlines() if name.partition("/")[0] in ROOMS and (ROOT / name).is_file()]
    assert {"synth/prompts/question.md", "flows/examples/peps.parquet", "flows/report/report.html.jinja"} <= set(ours)
    for name in ours:
        assert (site.folder / "evoembedding" / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert (site.folder / "evoembedding" / "py.typed").exists()


def test_it_runs_outside_the_checkout_and_knows_its_commit(site: Site, tmp_path: Path) -> None:
    env = environment(site.folder, tmp_path / "home")
    assert python("-m", "evoembedding", "--version", cwd=tmp_path, env=env) == f"evo {package_version()}\n"
    script = (
        "import schemas, evoembedding; from evoembedding.flows.settings import git_commit; "
        "from evoembedding import Segment; "
        "print(schemas.WHOSE, Segment.__module__, git_commit(), evoembedding.__file__)"
    )
    whose, module, commit, place = python("-c", script, cwd=tmp_path, env=env).split()
    assert (whose, module) == ("foreign", "evoembedding.schemas.episode")
    assert commit.removesuffix("+dirty") == site.commit
    assert place.startswith(str(site.folder))


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_with_no_bare_room_in_any_process(site: Site, tmp_path: Path) -> None:
    """Commands, Prefect's server and a DeepSpeed rank; and the model names what it was made with."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    env = environment(site.folder, tmp_path / "home", WATCHED=str(tmp_path / "told"))
    env["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(site.folder)))
    told = json.loads(python("-m", "evoembedding", "demo", "--smallest", "--json", cwd=tmp_path, env=env))
    model = tmp_path / "home" / told["model"]["place"]
    lineage = json.loads((model / "lineage.json").read_text())
    assert lineage["package_version"] == package_version()
    assert lineage["git_commit"].removesuffix("+dirty") == site.commit
    assert f"evoembedding {package_version()}" in (model / "README.md").read_text()
    lines = (tmp_path / "told").read_text().splitlines()
    assert [line for line in lines if line.startswith("bare")] == []
    for process in ("evoembedding demo", "prefect_process.py", "evoembedding.trainer.training.loop"):
        assert any(line.startswith("process") and process in line for line in lines), process
