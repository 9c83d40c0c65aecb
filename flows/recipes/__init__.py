"""Recipes: complete configs of a run by name. Each is a function in a file here, and an entry of the table.

A variant derives from one with `replace`, or as a file that says what differs. Help, pages and tests read the table.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evoembedding.flows.recipes.offline import demo, smallest
from evoembedding.flows.recipes.pretrained import paper, smollm2
from evoembedding.flows.recipes.teachers import taught
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError, first_fault
from evoembedding.schemas.identity import stored
from evoembedding.synth.taxonomy import QUESTION_TYPES

R = TypeVar("R", bound=Record)
RECIPES: dict[str, Callable[[], Recipe]] = {
    made.__name__: made
    for made in (
        demo,
        smallest,
        smollm2,
        paper,
        taught,
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name, or of that file (.toml or .json).

    A file names the recipe that it derives from as `base` ("demo" by default) and holds what differs, table by table;
    `cloze = false` and `teaching = false` leave a stage out.

    Raises:
        EvoError: there is no such recipe, or the file does not make a whole one.
    """
    if name in RECIPES:
        return RECIPES[name]()
    if Path(name).suffix in (".toml", ".json"):
        return _from_file(Path(name))
    raise EvoError(
        f"unknown recipe '{name}'; nothing was run; the recipes are: {', '.join(RECIPES)}; "
        "or give a .toml or .json file"
    )


def with_teacher(chosen: Recipe, endpoints: Sequence[str], model: str | None) -> Recipe:
    """The recipe with one teacher at these endpoints in place of its own.

    Raises:
        EvoError: an endpoint is not allowed, or the model is not named.
    """
    if not endpoints and not model:
        return chosen
    if not endpoints or not model:
        raise EvoError("--teacher URL and --model NAME belong together; nothing was run; give both")
    own = chosen.teaching.teachers[0].model_dump() if chosen.teaching else {}
    # No `serve`: endpoints are given, so that no server is started for them.
    teacher = {**own, "model": model, "endpoints": tuple(endpoints), "serve": None}
    teaching = chosen.teaching.model_dump() if chosen.teaching else {}
    # Roles name teachers of the recipe, of whom one is left.
    roles = {"writer": "", "judge": "", "askers": (), "annotators": ()}
    return checked({**chosen.model_dump(), "teaching": {**teaching, **roles, "teachers": (teacher,)}}, "the options")


def changed(record: R, **values: Any) -> R:
    """A copy with these values, but for those that are None.

    Raises:
        EvoError: a value is not allowed, or not together with the others.
    """
    try:
        return record.replace(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise EvoError(f"the options: {first_fault(error)}; nothing was run; mend it and rerun") from None


def seeded(base: Recipe, name: str, seed: int, steps: int | None = None) -> Recipe:
    """The recipe under another name, with this seed for its simulated worlds, initial weights and batches."""
    return base.replace(
        name=name,
        simulator=changed(base.simulator, seed=seed),
        train=changed(base.train, seed=seed, steps=steps),
    )


def from_settings(settings: dict[str, Any]) -> Recipe:
    """The recipe of an object: a whole one, as Prefect keeps it of a run, or what a recipe file would hold.

    In what is no whole recipe, `base` is by default the recipe of that name; and the name of a recipe stands for that
    recipe alone.

    Raises:
        EvoError: it is none, or has the name of a recipe and other settings.
    """
    where, name = "the recipe", settings.get("name")
    if not isinstance(name, str):
        raise EvoError(f"{where} is an object without a name; nothing was run; give it a 'name', or name a recipe")
    with suppress(ValidationError):  # what is wrong with it is told below
        if _whole(read := stored(Recipe, settings)):
            return checked(read.model_dump(), where)
    made = _derived(settings, {"base": name if name in RECIPES else "demo"}, where)
    if name in RECIPES and made != RECIPES[name]():
        differs = [key for key, value in made if value != getattr(RECIPES[name](), key)]
        raise EvoError(
            f"{where} is called '{name}' and differs from the recipe of that name in {', '.join(differs)}; nothing was "
            f'run; give it another name and "base": "{name}"'
        )
    return made


def _whole(value: object) -> bool:
    """Whether no field was left to a default, here or further in."""
    if isinstance(value, tuple):
        return all(map(_whole, value))
    if isinstance(value, BaseModel):
        return all(name in value.model_fields_set and _whole(inner) for name, inner in value)
    return True


def _from_file(path: Path) -> Recipe:
    try:
        text = path.read_text(encoding="utf-8")
        read = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EvoError(f"recipe file '{path}' cannot be read: {reason}; nothing was run; mend the file") from None
    if not isinstance(read, dict):
        raise EvoError(f"recipe file '{path}' holds no table of settings; nothing was run; see docs/teachers.md")
    return _derived(read, {"base": "demo", "name": path.stem}, f"recipe file '{path}'")


def _derived(settings: dict[str, Any], absent: dict[str, Any], where: str) -> Recipe:
    """The recipe of settings over those of their base; `absent` are the base and the name, where they give none."""
    own = {**absent, **settings}
    base = own.pop("base")
    if not isinstance(base, str) or base not in RECIPES:
        raise EvoError(
            f"{where} has base '{base}', which is no recipe; nothing was run; the recipes are: {', '.join(RECIPES)}"
        )
    return checked(_merged(RECIPES[base]().model_dump(), own), where)


def _merged(below: Any, above: Any) -> Any:
    """Settings of `above` over those of `below`, table by table. `false` for a table leaves it out."""
    # `false`, since TOML has no null.
    if above is False and (below is None or isinstance(below, dict)):
        return None
    # Lists are replaced whole: a file that names teachers has those, and none of its base.
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


def checked(settings: dict[str, Any], where: str) -> Recipe:
    """The recipe of these settings, which came from `where`.

    Raises:
        EvoError: they do not make one; the sentence does not repeat a value, which may hold a secret.
    """
    try:
        made = Recipe.model_validate(settings)
    except ValidationError as error:
        raise EvoError(f"{where}: {first_fault(error)}; nothing was run; mend it and rerun") from None
    if made.teaching:
        _check_limits(made.teaching.verify.limits, where)
        asked = made.teaching.questions
        for kind in (*asked.types, *asked.weights):
            if kind not in QUESTION_TYPES:
                near = get_close_matches(kind, QUESTION_TYPES, n=3) or list(QUESTION_TYPES)[:5]
                raise EvoError(
                    f"{where}: unknown question type '{kind[:80]}'; nothing was run; did you mean: {', '.join(near)}?"
                )
    return made


def _check_limits(limits: dict[str, float], where: str) -> None:
    if not limits:
        return
    from evoembedding.synth.checks import CHECKS  # they import the client of teachers, for which help does not wait

    settled = [name for name, check in CHECKS.items() if check.threshold is not None]
    if unknown := limits.keys() - set(settled):
        raise EvoError(
            f"{where}: teaching.verify.limits names '{min(unknown)[:80]}', which no check reads; nothing was run; "
            f"those that do are: {', '.join(settled) or 'none'}"
        )
