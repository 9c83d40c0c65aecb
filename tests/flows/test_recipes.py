"""Recipes from files and options: what they make, and what each mistake says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.recipes import RECIPES, changed, recipe, with_teacher
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.backbones.names import source

DOCS = Path(__file__).parents[2] / "docs" / "teachers.md"
TEACHER = {"model": "m", "endpoints": ["http://127.0.0.1:1/v1"]}


def write(folder: Path, **settings: Any) -> str:
    path = folder / "mine.json"
    path.write_text(json.dumps(settings))
    return str(path)


def test_the_documented_recipe_is_a_whole_one(tmp_path: Path) -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(written)
    teaching = recipe(str(path)).teaching
    assert teaching is not None
    assert teaching.annotators == ("large", "large", "small")
    assert teaching.teachers[1].serve is not None


def test_a_file_derives_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        base = "taught"
        [teaching]
        teachers = [{ model = "m", endpoints = ["http://127.0.0.1:1/v1"], price = { prompt = 0.1 } }]
        [teaching.web]
        window_tokens = 80
        [simulator]
        contexts = 7
        """
    )
    made = recipe(str(path))
    assert made.name == "mine"
    assert made.teaching is not None
    assert made.teaching.web.window_tokens == 80
    assert made.teaching.web.overlap_tokens == 12
    assert made.simulator.contexts == 7
    assert made.cloze is None
    assert recipe(write(tmp_path, base="demo", cloze=False)).cloze is None
    assert recipe(write(tmp_path, base="taught", teaching=False)).teaching is None


def test_paper_is_the_papers_training_recipe() -> None:
    """arXiv 2606.21649 and the authors' script, 8 GPUs with an accumulation of 2."""
    train = recipe("paper").train
    model = train.model
    assert source(model.backbone) == "Qwen/Qwen3-4B-Instruct-2507"
    assert (model.latents, model.capacity, model.embedding) == (16, 512, 1024)
    assert (model.lora_rank, model.lora_alpha, model.lora_dropout) == (64, 128, 0.1)
    assert (train.learning_rate, train.final_lr_fraction, train.warmup_fraction) == (5e-5, 0.1, 0.05)
    assert (train.gradient_clip, train.temperature, train.memory_loss_weight) == (1.0, 0.1, 1.0)
    assert (train.epochs, train.batch_episodes, train.batches_per_step) == (1, 1, 16)
    assert (train.batch_segments, train.batch_tokens, train.precision) == (16, 2048, "bfloat16")


def test_every_named_recipe_survives_its_own_json() -> None:
    for name in RECIPES:
        made = recipe(name)
        assert type(made).model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"teaching": {"teachers": [TEACHER], "questions": {"types": ["lastest"]}}}, "did you mean: latest"),
        ({"teaching": {"teachers": [TEACHER], "questions": {"weights": {"x" * 300: 1}}}}, "unknown question type"),
        ({"teaching": {"teachers": [TEACHER], "judge": "nobody"}}, "no teacher is named 'nobody'"),
        ({"teaching": {"teachers": [TEACHER, TEACHER]}}, "two teachers have one name"),
        ({"teaching": {"teachers": [TEACHER], "budget": {"money": 5}}}, "needs a price"),
        ({"teaching": {"teachers": [TEACHER], "lengths": {"mean_segments": 2}}}, "are not in this order"),
        ({"teaching": {"teachers": [TEACHER], "verify": {"min_votes": 3}}}, "more than the 1 annotators"),
        ({"teaching": {"teachers": [{"model": "m"}]}}, "neither endpoints nor a server"),
        ({"teaching": {"teachers": []}}, "at least 1 item"),
        ({"steps": 3}, "Extra inputs are not permitted"),
        ({"name": "../x"}, "name: String should match"),
        ({"base": "nothing"}, "is no recipe"),
        ({"base": ["demo"]}, "is no recipe"),
        ({"simulator": {"contexts": -1}}, "simulator.contexts"),
        ({"simulator": 7}, "simulator"),
        ({"train": {"model": {"latents": 4, "capacity": 2}}}, "cannot hold the 4 of one segment"),
        ({"train": {"model": {"hidden": 90, "heads": 4}}}, "does not make 4 heads"),
        ({"train": {"model": {"lora_rank": 0}}}, "train.model.lora_rank"),
        ({"train": {"batch_segments": 0}}, "train.batch_segments"),
    ],
)
def test_a_mistaken_file_is_one_sentence(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(EvoError) as caught:
        recipe(write(tmp_path, **settings))
    assert says in str(caught.value)
    assert "nothing was run" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "\x00", '{"teaching": {"teachers": 1}}'])
def test_a_malformed_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(EvoError, match=r"nothing was run") as caught:
        recipe(str(path))
    assert "\n" not in str(caught.value)


def test_a_secret_in_an_endpoint_is_not_repeated(tmp_path: Path) -> None:
    bad = {"model": "m", "endpoints": ["http://me:hunter2@127.0.0.1/v1"]}
    with pytest.raises(EvoError, match="holds credentials") as caught:
        recipe(write(tmp_path, teaching={"teachers": [bad]}))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(EvoError, match="holds credentials") as caught:
        with_teacher(recipe("taught"), bad["endpoints"], "m")  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        (("--teacher", "{url}"), "k", "belong together"),
        (("--teacher", "{url}", "--model", "other"), "k", "does not serve model 'other'"),
        (("--teacher", "{url}", "--model", "scripted"), "", "EVO_TEACHER_API_KEY is not set"),
        (("--teacher", "{url}", "--model", "scripted"), "wrong-key-of-this-test", "was rejected"),
        (("--teacher", "http://127.0.0.1:9/v1", "--model", "scripted"), "k", "cannot be reached"),
        (("--teacher", "ftp://x", "--model", "scripted"), "k", "no http or https address"),
        (("--teacher", "{url}", "--model", "scripted", "--budget-money", "1"), "k", "needs a price"),
    ],
)
def test_mistakes_with_teachers_are_one_sentence(
    serve: Callable[..., Any], evo: Callable[..., Any], words: tuple[str, ...], key: str, says: str
) -> None:
    server = serve(lambda _: "", key="k")
    filled = [word.format(url=server.url) for word in words]
    done = evo("synthesize", "taught", "--personas", "1", *filled, EVO_TEACHER_API_KEY=key)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("evo: ")
    assert says in last
    assert "Traceback" not in done.stderr + done.stdout
    assert "wrong-key-of-this-test" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stepps": 3}, "stepps: Extra inputs"),
        ({"steps": -3}, "steps: Input should be greater"),
        ({"precision": "float8"}, "precision: Input should be"),
    ],
)
def test_options_that_a_config_does_not_allow_are_one_sentence(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(EvoError, match=f"the options: {says}.*nothing was run") as caught:
        changed(recipe("demo").train, **changes)
    assert "\n" not in str(caught.value)
    with pytest.raises(EvoError, match="a queue of 64 latents cannot hold the 65"):
        changed(recipe("demo").train.model, latents=65)
