"""Dialogues: a persona's life events are planned first, updates and corrections among them, then told in turns."""

from __future__ import annotations

import random

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Segment
from evoembedding.synth.contexts.lengths import cut, draw_segments
from evoembedding.synth.contexts.personas import persona
from evoembedding.synth.contexts.row import context_row
from evoembedding.synth.contexts.web import NoContextError
from evoembedding.synth.prompts.answers import Plan, PlannedEvent, Turns
from evoembedding.synth.teachers.asking import Asker
from evoembedding.synth.text import tokens

VERSION = "dialogue-1"
REMEMBERED_EVENTS = 32  # of the plan so far, that the next part of the plan is shown
REMEMBERED_TURNS = 2


async def dialogue(asker: Asker, config: TeachingConfig, index: int, fingerprint: str) -> Context:
    """The dialogue of persona `index`: as many turns as events, unless the teacher gives fewer.

    Raises:
        NotAnsweredError: a part of it was not answered.
        NoContextError: it came to fewer than two turns.
    """
    rng = random.Random(f"{VERSION}/{config.seed}/{index}")
    person, count = persona(rng), draw_segments(rng, config.lengths)
    events, planned = await _plan(asker, config, person, count)
    turns, written = await _tell(asker, config, person, events)
    segments = cut(turns, config.lengths)
    if len(segments) < 2:
        raise NoContextError(f"the dialogue came to {len(segments)} turns of {count}")
    return context_row(
        "dialogue", asker.model(asker.writer), segments, fingerprint, seed=index, calls=(*planned, *written)
    )


async def _plan(
    asker: Asker, config: TeachingConfig, person: str, count: int
) -> tuple[list[PlannedEvent], tuple[str, ...]]:
    events: list[PlannedEvent] = []
    calls: tuple[str, ...] = ()
    for start in range(0, count, config.dialogue.events_a_plan):
        part = min(config.dialogue.events_a_plan, count - start)
        before = events[-REMEMBERED_EVENTS:]
        answered = await asker.ask(asker.writer, "contexts", "plan", Plan, persona=person, count=part, before=before)
        # A teacher may give more than it was asked for.
        events += answered.value.events[:part]
        calls += answered.calls
    return events, calls


async def _tell(
    asker: Asker, config: TeachingConfig, person: str, events: list[PlannedEvent]
) -> tuple[list[Segment], tuple[str, ...]]:
    segments: list[Segment] = []
    calls: tuple[str, ...] = ()
    size, total = config.dialogue.events_a_call, 0
    for start in range(0, len(events), size):
        chunk = events[start : start + size]
        before = segments[-REMEMBERED_TURNS:]
        answered = await asker.ask(
            asker.writer,
            "contexts",
            "turns",
            Turns,
            persona=person,
            before=before,
            events=chunk,
            words=config.dialogue.words_a_turn,
        )
        new = [Segment(user=turn.user, assistant=turn.assistant) for turn in answered.value.turns[: len(chunk)]]
        segments += new
        calls += answered.calls
        total += sum(tokens(segment.text) for segment in new)
        # What `cut` would drop is not asked for.
        if total > config.lengths.max_tokens:
            break
    return segments, calls
