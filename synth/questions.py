"""Stage 2: a context's questions. Types are drawn by weight among those that it can carry.

A context comes in; the drawn types and, for each, a `Question` go out.
"""

from __future__ import annotations

import random

from evoembedding.schemas.configs import QuestionConfig, TeachingConfig
from evoembedding.schemas.episode import Context, Question
from evoembedding.schemas.ids import content_id
from evoembedding.synth.cloze import QUESTION_WORDS
from evoembedding.synth.prompts.answers import QuestionAnswer
from evoembedding.synth.taxonomy import RULES, QuestionType, carried_by
from evoembedding.synth.teachers.asking import Asker

VERSION = "questions-1"


def draw_types(context: Context, config: QuestionConfig, seed: int) -> list[QuestionType]:
    """Up to `config.a_context` types, drawn by weight without replacement; by seed and context id."""
    rng = random.Random(f"{VERSION}/{seed}/{context.context_id}")
    drawn: list[tuple[float, QuestionType]] = []
    for kind in carried_by(context.kind, len(context.segments)):
        weight = config.weights.get(kind.name, kind.weight)
        # Efraimidis and Spirakis (2006): the largest u^(1/w) are a weighted sample without replacement.
        key = rng.random() ** (1 / weight) if weight else 0.0
        if key and (not config.types or kind.name in config.types):
            drawn.append((key, kind))
    return [kind for _, kind in sorted(drawn, key=lambda pair: -pair[0])[: config.a_context]]


async def question(
    asker: Asker, config: TeachingConfig, context: Context, kind: QuestionType, number: int, fingerprint: str
) -> Question:
    """Question `number` of a context, asked by the askers in turn.

    Raises:
        NotAnsweredError: there is no usable answer.
    """
    # Where turns begin differs by context: else one asker would have the first question of each.
    start = int(context.context_id[-6:], 16)
    name = asker.askers[(start + number) % len(asker.askers)]
    answered = await asker.ask(
        name,
        "questions",
        "question",
        QuestionAnswer,
        segments=context.segments,
        type=kind,
        rules=RULES,
        question_words=QUESTION_WORDS,
    )
    text, answer = answered.value.question.strip(), answered.value.answer.strip()
    content = {"context_id": context.context_id, "type": kind.name, "text": text, "answer": answer}
    return Question(
        question_id=content_id("q", content),
        context_id=context.context_id,
        question_type=kind.name,
        family=kind.family,
        text=text,
        answer=answer,
        generator=asker.model(name),
        fingerprint=fingerprint,
        reasoning=answered.value.reasoning,
        calls=answered.calls,
    )
