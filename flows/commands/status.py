"""The command `evo status`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say_json, say_table, say_text, warn
from evoembedding.schemas.errors import EvoError

if TYPE_CHECKING:
    from evoembedding.flows.scheduled import Scheduled
    from evoembedding.flows.status import Status


def status(
    prometheus: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures to a file for Prometheus as well.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what runs, is pending, newest, in use, decided about retraining, paid, and scheduled next."""
    from evoembedding.flows.scheduled import scheduled
    from evoembedding.flows.status import status as look

    found, following = look(state()), None
    # Before the server is asked, which may not answer: no figure comes from there.
    if prometheus is not None:
        from evoembedding.flows.figures import write_figures

        write_figures(found, prometheus)
    try:
        following = scheduled()
    except EvoError as error:  # the rest is no less true
        warn(f"evo: {error}")
    if as_json:
        say_json({**found.model_dump(), "scheduled": following and [one.model_dump() for one in following]})
    else:
        _say(found, following)


def _say(found: Status, following: list[Scheduled] | None) -> None:
    say_text(f"{found.home} at {found.at:%Y-%m-%d %H:%M:%S} UTC")
    _part("Running", ("job", "on"), [(one.job, one.subject) for one in found.running])
    _part(
        "Pending",
        ("dataset", "recipe", "kind", "stage", "items"),
        [(one.dataset, one.recipe, one.kind, one.stage, one.items) for one in found.pending],
    )
    _part(
        "Newest versions",
        ("dataset", "episodes", "published"),
        [(one.label, one.episodes, f"{one.created_at:%Y-%m-%d %H:%M}") for one in found.datasets],
    )
    _part(
        "Models",
        ("name", "newest", "champion", "last gate"),
        [
            (one.name, one.newest, one.champion or "none", f"{one.gated} {one.gate} {one.gate_at:%Y-%m-%d %H:%M}")
            if one.gate_at
            else (one.name, one.newest, one.champion or "none", "none")
            for one in found.models
        ],
    )
    _part(
        "Last decisions to retrain",
        ("name", "decision", "outcome", "when", "why"),
        [(one.name, one.decision, one.outcome, f"{one.at:%Y-%m-%d %H:%M}", one.why) for one in found.decisions],
    )
    _part(
        "Paid to teachers",
        ("recipe", "month", "calls", "tokens", "cost"),
        [(one.recipe, one.month, one.calls, one.tokens, f"{one.cost:.4f}") for one in found.paid],
    )
    if following is None:
        say_text("Scheduled: no Prefect server is configured (PREFECT_API_URL), or it does not answer")
    else:
        rows = [(f"{one.due:%Y-%m-%d %H:%M}" if one.due else "", one.flow, one.deployment) for one in following]
        _part("Scheduled", ("due (UTC)", "flow", "deployment"), rows)


def _part(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        say_table(columns, rows, title)
    else:
        say_text(f"{title}: nothing")
