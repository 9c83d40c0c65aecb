"""What flows are given: a recipe by name, file or object, a home that is there, and the defaults of the commands."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from evoembedding.flows.build_dataset import build_dataset
from evoembedding.flows.commands import evaluate as evaluate_command
from evoembedding.flows.commands import ingest as ingest_command
from evoembedding.flows.commands import retrain as retrain_command
from evoembedding.flows.commands import synthesis
from evoembedding.flows.commands import train as train_command
from evoembedding.flows.evaluate import evaluate
from evoembedding.flows.ingest import ingest
from evoembedding.flows.pipeline import pipeline
from evoembedding.flows.recipes import RECIPES, from_settings, recipe
from evoembedding.flows.retrain import retrain
from evoembedding.flows.synthesize import retry, synthesize
from evoembedding.flows.train import train
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError

FLOWS: dict[str, tuple[Flow[..., Any], dict[str, Any]]] = {  # each with what has no default
    "ingest": (ingest, {"source": "notes"}),
    "synthesize": (synthesize, {}),
    "retry": (retry, {}),
    "build_dataset": (build_dataset, {}),
    "train": (train, {"dataset": "d"}),
    "evaluate": (evaluate, {"model": "model-1"}),
    "pipeline": (pipeline, {"source": "notes"}),
    "retrain": (retrain, {"name": "support"}),
}
COMMANDS = {
    "ingest": ingest_command.ingest,
    "synthesize": synthesis.synthesize,
    "retry": synthesis.retry,
    "train": train_command.train,
    "evaluate": evaluate_command.evaluate,
    "retrain": retrain_command.retrain,
}


def read(given: object, home: Path) -> Recipe:
    """The recipe that a flow runs when it is given this."""
    found: Recipe = synthesize.validate_parameters({"recipe": given, "home": str(home)})["recipe"]
    return found


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_needs_nothing_but_its_subject(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, subject = FLOWS[name]
    monkeypatch.setenv("EVO_HOME", str(tmp_path))
    given = flow.validate_parameters(subject)
    assert given["home"] == tmp_path
    assert name == "ingest" or isinstance(given["recipe"], Recipe)
    schema = parameter_schema(flow.fn)
    assert sorted(schema.required) == sorted(subject)
    # What Prefect's pages show: words, each described.
    assert all(one["description"] and not isinstance(one.get("default"), dict) for one in schema.properties.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_its_defaults_are_those_of_the_command(name: str) -> None:
    of_flow = inspect.signature(FLOWS[name][0].fn).parameters
    of_command = inspect.signature(COMMANDS[name]).parameters
    shared = of_flow.keys() & of_command.keys()
    assert shared > {"source", "dataset", "model"} & of_flow.keys()
    assert {key: of_flow[key].default for key in shared} == {key: of_command[key].default for key in shared}


def test_a_recipe_comes_by_name_file_or_object(tmp_path: Path) -> None:
    own = {"name": "mine", "base": "smallest", "train": {"steps": 3}}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    wanted = recipe("smallest").replace(name="mine", train=recipe("smallest").train.replace(steps=3))
    assert read("smallest", tmp_path) == recipe("smallest")
    assert read(str(tmp_path / "mine.json"), tmp_path) == read(own, tmp_path) == read(wanted, tmp_path) == wanted


@pytest.mark.parametrize("name", RECIPES)
def test_a_whole_recipe_is_itself(name: str) -> None:
    """As Prefect keeps it of a run that the command made with options."""
    changed = RECIPES[name]().replace(curation=RECIPES[name]().curation.replace(overlap_words=7))
    assert from_settings(jsonable_encoder(changed)) == changed
    older = {key: value for key, value in jsonable_encoder(changed).items() if key != "generators"}
    assert from_settings(older) == changed


@pytest.mark.parametrize("name", RECIPES)
def test_the_name_of_a_recipe_stands_for_it_alone(name: str) -> None:
    assert from_settings({"name": name}) == RECIPES[name]()
    for other in ({"heldout_contexts": 9}, {"base": "smallest", "heldout_contexts": 9}, {"train": {"steps": 77}}):
        with pytest.raises(EvoError, match=f"called '{name}' and differs .* in .*; nothing was run; give it another"):
            from_settings({"name": name, **other})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("smalest", "unknown recipe 'smalest'; nothing was run"),
        ({}, "an object without a name; nothing was run"),
        ({"name": "mine", "base": "nobody"}, "base 'nobody', which is no recipe; nothing was run"),
        ({"name": "mine", "trian": {}}, "trian: .*; nothing was run"),
        ({"name": "smallest", "train": {"steps": 0}}, "train.steps: .*; nothing was run"),
        (["smallest"], "a recipe is a name, a file or an object, and no list; nothing was run"),
    ],
)
def test_what_is_no_recipe_is_a_sentence(given: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(EvoError, match=told):
        read(given, tmp_path)


@pytest.mark.parametrize("name", FLOWS)
def test_a_home_that_is_not_there_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, subject = FLOWS[name]
    missing = tmp_path / "not" / "there"
    monkeypatch.setenv("EVO_HOME", str(missing))
    for given in ({}, {"home": str(missing)}):
        with pytest.raises(EvoError, match=f"home '{missing}' does not exist .*; nothing was run"):
            flow.validate_parameters({**subject, **given})
    assert not missing.parent.exists()


def test_nor_is_it_made_unasked_or_in_passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker runs flows in a temporary folder: what is made there is lost."""
    monkeypatch.chdir(tmp_path)
    for environ in ("", "state"):
        monkeypatch.setenv("EVO_HOME", environ)
        with pytest.raises(EvoError, match="which may be a temporary one; nothing was run; name it by an absolute"):
            synthesize.validate_parameters({"create_home": True})
    (tmp_path / "file").write_text("")
    with pytest.raises(EvoError, match=r"cannot be made: .*; nothing was run"):
        synthesize.validate_parameters({"create_home": True, "home": str(tmp_path / "file" / "home")})
    made = synthesize.validate_parameters({"create_home": True, "home": str(tmp_path / "a" / "home")})["home"]
    assert made.is_dir() and sorted(path.name for path in tmp_path.iterdir()) == ["a", "file"]
