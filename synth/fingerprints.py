"""Fingerprints of the stages: what can change their rows, by name, each stage's including the stage before."""

from __future__ import annotations

from typing import Any, NamedTuple

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.identity import identity
from evoembedding.schemas.ids import digest
from evoembedding.schemas.teacher import TeacherConfig
from evoembedding.synth import evidence, questions
from evoembedding.synth.checks import CHECKS
from evoembedding.synth.contexts import dialogue, memory, web
from evoembedding.synth.prompts import PROMPTS
from evoembedding.synth.taxonomy import QUESTION_TYPES, RULES, QuestionType
from evoembedding.synth.verification import taught_components

STAGES = ("contexts", "questions", "evidence", "verify")
KINDS = ("dialogue", "web", "memory")
BEFORE = "stage before"  # what its fingerprint is called among what a stage's fingerprint hashes


class Stage(NamedTuple):
    """A stage for one kind of context. `components` are values, or hashes of what is too long to show; `before` is the
    fingerprint of the stage before, '' for a first one.
    """

    name: str
    kind: str
    fingerprint: str
    components: dict[str, Any]
    before: str = ""


class Chain(NamedTuple):
    """The four stages of one kind of context."""

    contexts: Stage
    questions: Stage
    evidence: Stage
    verify: Stage


class Drafted(NamedTuple):
    """The two stages of an offline generator: contexts, questions and evidence at once, and their checks."""

    drafts: Stage
    verify: Stage


def chains(config: TeachingConfig) -> dict[str, Chain]:
    """The stages of each kind of context under a config."""
    first = config.teachers[0].name
    writer = {**_teachers(config, [config.writer or first]), **_prompts("plan", "turns")}
    lengths = {"lengths": identity(config.lengths), "seed": config.seed}
    # How many personas and documents there are, and which share gets a memory, changes no context.
    of_dialogue = {"code": dialogue.VERSION, **writer, **lengths, "dialogue": identity(config.dialogue, "personas")}
    of_web = {"code": web.VERSION, **lengths, "web": identity(config.web, "documents")}
    of_memory = {
        "code": memory.VERSION,
        **_teachers(config, [config.writer or first]),
        **_prompts("statements"),
        "memory": identity(config.memory, "share"),
        "lengths": identity(config.lengths),
        # What it is extracted from: both kinds, as one fingerprint serves both.
        "dialogue contexts": digest(of_dialogue, 10),
        "web contexts": digest(of_web, 10),
    }
    return {
        "dialogue": _chain(config, "dialogue", of_dialogue),
        "web": _chain(config, "web", of_web),
        "memory": _chain(config, "memory", of_memory),
    }


def _chain(config: TeachingConfig, kind: str, contexts: dict[str, Any]) -> Chain:
    first = config.teachers[0].name
    asked: dict[str, Any] = {
        "code": questions.VERSION,
        **_teachers(config, config.askers or (first,)),
        **_prompts("question"),
        "taxonomy": digest([RULES, *(_entry(entry) for entry in QUESTION_TYPES.values())], 10),
        "questions": identity(config.questions),
        "seed": config.seed,
    }
    annotated: dict[str, Any] = {
        "code": evidence.VERSION,
        **_teachers(config, config.annotators or (first,), sampling=False),
        "sampling": identity(config.annotation),
        **_prompts("evidence"),
    }
    verified: dict[str, Any] = {
        **taught_components(),
        **_teachers(config, [config.judge or first], sampling=False),
        "sampling": identity(config.verify.sampling),
        **_prompts(*dict.fromkeys(prompt for check in CHECKS.values() for prompt in check.prompts)),
        "thresholds": identity(config.verify, "sampling"),
    }
    stages: list[Stage] = []
    for name, components in zip(STAGES, (contexts, asked, annotated, verified), strict=True):
        before = stages[-1].fingerprint if stages else ""
        whole = {BEFORE: before, **components} if before else components
        stages.append(Stage(name, kind, digest({"stage": name, "kind": kind, **whole}, 10), components, before))
    return Chain(*stages)


def _teachers(config: TeachingConfig, names: tuple[str, ...] | list[str], sampling: bool = True) -> dict[str, Any]:
    """The part of the teachers that can change an answer; not where they are, nor what they cost."""
    by_name = {teacher.name: teacher for teacher in config.teachers}
    found: list[TeacherConfig] = [by_name[name] for name in names]
    models = {"model": [teacher.model + (f"@{teacher.revision}" if teacher.revision else "") for teacher in found]}
    return {**models, "sampling": [identity(teacher.sampling) for teacher in found]} if sampling else dict(models)


def _prompts(*names: str) -> dict[str, str]:
    return {f"prompt {name}": PROMPTS[name].version for name in names}


def _entry(entry: QuestionType) -> list[Any]:
    """What of an entry bears on what teachers are asked; its builder is the simulator's."""
    return [getattr(entry, name) for name in QuestionType._fields if name != "builder"]
