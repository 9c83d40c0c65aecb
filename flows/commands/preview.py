"""What `evo synthesize --preview` shows."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from typing import TYPE_CHECKING

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import say
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shortened

if TYPE_CHECKING:
    from evoembedding.flows.preview import Preview, Previewed

LONGEST = 1500  # characters of a prompt, an answer or a piece of evidence; `--json` has all of it


def say_preview(recipe: Recipe, count: int, as_json: bool) -> None:
    """Show the first items of each kind, and what an episode costs.

    Raises:
        EvoError: teachers left something of them unanswered.
    """
    from evoembedding.flows.preview import preview

    found = preview(state(), recipe, count)
    told = {
        "items": [item.model_dump() for item in found.items],
        "kept": found.kept,
        "cost": found.cost,
        "paid_now": found.paid_now,
        "cost_of_a_kept_episode": found.a_kept_episode,
    }
    say(told, as_json, "\n".join(_lines(found)))
    # With calls: a document that an offline generator makes nothing of is a failure that nobody can mend.
    unanswered = [item.item for item in found.items if item.calls and item.failures]
    if unanswered:
        raise EvoError(
            f"teachers left something of {', '.join(unanswered[:5])} unanswered, which the preview says; nothing was "
            "stored but answers, in the ledger; mend it before you synthesize"
        )


def _lines(found: Preview) -> Iterator[str]:
    for item in found.items:
        yield from _item(item)
    each = "nothing is kept" if found.a_kept_episode is None else f"a kept episode costs {found.a_kept_episode:.6f}"
    yield f"{len(found.items)} items, {found.kept} episodes kept, cost {found.cost:.4f} ({found.paid_now:.4f} paid now)"
    yield f"{each}; nothing was stored in the warehouse, and what teachers answered is kept in the ledger"


def _item(item: Previewed) -> Iterator[str]:
    yield f"== {item.kind}, {item.item}: {item.segments} segments, {item.kept} of {len(item.questions)} questions kept"
    for call in item.calls:
        malformed = "" if call.valid else ", malformed"
        yield f"-- {call.stage}: asked {call.teacher}, {call.tokens} tokens, cost {call.cost:.6f}{malformed}"
        yield _inner(call.prompt)
        yield "-- answered"
        yield _inner(call.answer)
    for one in item.questions:
        yield f"-- {one.question_type}: {'rejected by ' + one.rejected if one.rejected else 'kept'}"
        yield _inner(f"Q: {one.question}\nA: {one.answer}")
        for text in one.evidence:
            yield _inner(f"E: {text}")
    for reason in item.failures:
        yield f"-- failed: {reason}"
    yield ""


def _inner(text: str) -> str:
    return indent(shortened(text, LONGEST), "   ")
