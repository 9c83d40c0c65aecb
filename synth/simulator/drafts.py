"""A simulated world as a draft: its context, questions and evidence."""

from __future__ import annotations

import random

from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Context, Draft, Evidence, Question
from evoembedding.schemas.ids import content_id
from evoembedding.synth.simulator.questions import Asked, ask
from evoembedding.synth.simulator.render import render
from evoembedding.synth.simulator.world import tell
from evoembedding.synth.taxonomy import QUESTION_TYPES

GENERATOR = "simulator"
# Apart from the generator's version: the worlds are still those of version 1, and only the questions about them grew.
WORLDS = "simulator-1"


def draft(config: SimulatorConfig, index: int, fingerprint: str) -> Draft:
    """World `index` of the configuration, marked with the generator's fingerprint."""
    rng = random.Random(f"{WORLDS}/{config.seed}/{config.split}/{index}")
    length = rng.randint(config.min_segments, max(config.min_segments, config.max_segments))
    beats = tell(rng, config.split, length)
    segments = tuple(render(rng, config.split, beat) for beat in beats)
    content = {
        "segments": [[s.user, s.assistant] for s in segments],
        "kind": "dialogue",
        "generator": GENERATOR,
        "split": config.split,
    }
    context = Context(
        context_id=content_id("ctx", content),
        kind="dialogue",
        generator=GENERATOR,
        split=config.split,
        seed=index,
        document_ids=(),
        segments=segments,
        fingerprint=fingerprint,
    )
    asked = ask(rng, config.split, beats, config.questions_per_context)
    questions = tuple(_question(context, one) for one in asked)
    evidence = tuple(_evidence(q, one) for q, one in zip(questions, asked, strict=True))
    return Draft(context=context, questions=questions, evidence=evidence)


def _question(context: Context, asked: Asked) -> Question:
    content = {"context_id": context.context_id, "type": asked.type, "text": asked.text, "answer": asked.answer}
    return Question(
        question_id=content_id("q", content),
        context_id=context.context_id,
        question_type=asked.type,
        family=QUESTION_TYPES[asked.type].family,
        text=asked.text,
        answer=asked.answer,
        generator=GENERATOR,
        fingerprint=context.fingerprint,
    )


def _evidence(question: Question, asked: Asked) -> Evidence:
    return Evidence(
        question_id=question.question_id,
        indices=asked.evidence,
        votes=tuple(1 for _ in asked.evidence),
        generator=GENERATOR,
        fingerprint=question.fingerprint,
    )
