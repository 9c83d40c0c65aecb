"""Named complete configs. A variant derives from one with `replace`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from evoembedding.schemas.configs import ClozeConfig, ModelConfig, Recipe, SimulatorConfig, TeachingConfig, TrainConfig
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError, first_fault
from evoembedding.schemas.teacher import ServeConfig, TeacherConfig
from evoembedding.synth.taxonomy import QUESTION_TYPES


def demo() -> Recipe:
    """Real documents to a traced model in under 10 minutes on two cores."""
    return Recipe(
        name="demo",
        simulator=SimulatorConfig(contexts=5000),
        cloze=ClozeConfig(max_segments=16),
        train=TrainConfig(
            steps=900,
            batch_episodes=8,
            learning_rate=1.5e-3,
            memory_loss_weight=0.25,  # answers are about 4 tokens, of which the loss is the sum
        ),
        heldout_contexts=150,
    )


def smallest() -> Recipe:
    """The demo's shape in about a minute: proves the path, says nothing of quality."""
    return Recipe(
        name="smallest",
        simulator=SimulatorConfig(contexts=64),
        cloze=ClozeConfig(max_segments=8, questions_per_document=1),
        train=TrainConfig(
            steps=12,
            batch_episodes=4,
            checkpoint_every=6,
            model=ModelConfig(layers=2, hidden=32, embedding=32, heads=2),
        ),
        heldout_contexts=8,
    )


def taught() -> Recipe:
    """Teachers only, at the paper's lengths: a thousand personas, every document, memories of a third of both.

    The teacher is SmolLM2 on a server that the run starts itself; name a better one with --teacher and --model, or in
    a recipe file.
    """
    return Recipe(
        name="taught",
        simulator=SimulatorConfig(contexts=0),
        cloze=None,
        teaching=TeachingConfig(teachers=(TeacherConfig(model="SmolLM2-135M-Instruct", serve=ServeConfig()),)),
    )


def paper() -> Recipe:
    """The paper's training recipe (arXiv 2606.21649) on as many episodes, for GPUs: 8 ranks take 2 batches a step each.

    Simulated dialogues have 21 segments on average; documents give the long contexts, up to 10K tokens.
    """
    return Recipe(
        name="paper",
        simulator=SimulatorConfig(contexts=30_000, min_segments=8, max_segments=34),
        cloze=ClozeConfig(max_segments=128),
        train=TrainConfig(
            model=ModelConfig(
                backbone="qwen3-4b",
                latents=16,
                capacity=512,
                embedding=1024,
                lora_rank=64,
                lora_alpha=128,
                lora_dropout=0.1,
            ),
            epochs=1,
            batch_episodes=1,
            batches_per_step=16,
            token_budget=10_300,
            learning_rate=5e-5,
            final_lr_fraction=0.1,
            warmup_fraction=0.05,
            gradient_clip=1.0,
            precision="bfloat16",
            checkpoint_activations=True,
        ),
    )


def smollm2() -> Recipe:
    """The paper's shape on a real language model that trains on a CPU: proves the path, says nothing of quality."""
    base = paper().train
    small = {"backbone": "smollm2", "latents": 4, "capacity": 128, "embedding": 256, "lora_rank": 8, "lora_alpha": 16}
    return Recipe(
        name="smollm2",
        simulator=SimulatorConfig(contexts=100, min_segments=8, max_segments=12, questions_per_context=4),
        cloze=None,
        train=base.replace(
            model=base.model.replace(**small),
            epochs=0,
            steps=60,
            batches_per_step=1,
            learning_rate=2e-4,
            precision="float32",
            checkpoint_activations=False,
            checkpoint_every=20,
        ),
        heldout_contexts=8,
    )


R = TypeVar("R", bound=Record)
RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo": demo,
    "smallest": smallest,
    "smollm2": smollm2,
    "paper": paper,
    "taught": taught,
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
    teacher = {**own, "model": model, "endpoints": tuple(endpoints), "serve": None}
    teaching = chosen.teaching.model_dump() if chosen.teaching else {}
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


def _from_file(path: Path) -> Recipe:
    try:
        text = path.read_text(encoding="utf-8")
        read = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise EvoError(f"recipe file '{path}' cannot be read: {said}; nothing was run; mend the file") from None
    if not isinstance(read, dict):
        raise EvoError(f"recipe file '{path}' holds no table of settings; nothing was run; see docs/teachers.md")
    base = read.pop("base", "demo")
    if not isinstance(base, str) or base not in RECIPES:
        raise EvoError(
            f"recipe file '{path}' has base '{base}', which is no recipe; nothing was run; "
            f"the recipes are: {', '.join(RECIPES)}"
        )
    return checked(_merged(RECIPES[base]().model_dump(), {"name": path.stem, **read}), f"recipe file '{path}'")


def _merged(below: Any, above: Any) -> Any:
    """Settings of `above` over those of `below`, table by table. `false` for a table leaves it out."""
    if above is False and (below is None or isinstance(below, dict)):
        return None
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
        asked = made.teaching.questions
        for kind in (*asked.types, *asked.weights):
            if kind not in QUESTION_TYPES:
                near = get_close_matches(kind, QUESTION_TYPES, n=3) or list(QUESTION_TYPES)[:5]
                raise EvoError(
                    f"{where}: unknown question type '{kind[:80]}'; nothing was run; did you mean: {', '.join(near)}?"
                )
    return made
