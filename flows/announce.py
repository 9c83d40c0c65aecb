"""Announce: our own Prefect events, by which triggers and notifications of the user's own server go.

An event says that something has come; what follows from it is decided by the policy of `retrain` alone. None is sent to
the temporary server of a command, where nobody listens, and nothing rests on one: what is lost with a killed process is
seen by the next look that a schedule of `retrain` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from evoembedding.flows.progress import tell
from evoembedding.flows.terminal import prefect_server
from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.registry.promotion import Promotion

Occasion = Literal[
    "documents.ingested",
    "dataset.published",
    "model.trained",
    "model.evaluated",
    "model.promoted",
    "model.refused",
    "source.withdrawn",
]
Resource = tuple[str, str]  # its kind, and its id or label


def announce(home: Path, occasion: Occasion, about: Resource, *others: Resource, payload: Mapping[str, object]) -> None:
    """Send the event `evo.OCCASION` about a resource `evo.KIND.NAME`, with the home and `others` as related ones.

    `payload` is small: ids, labels and counts. A server that does not answer is told of, and fails nothing.
    """
    try:
        if not prefect_server.answers(f"event evo.{occasion} was not sent"):
            return
    except EvoError as error:
        tell(str(error))
        return
    from prefect.client.orchestration import get_client  # commands that announce nothing do without it
    from prefect.context import FlowRunContext
    from prefect.events import Event

    context = FlowRunContext.get()
    of_run = f"prefect.flow-run.{context.flow_run.id}" if context and context.flow_run else ""
    event = Event(
        event=f"evo.{occasion}",
        resource={"prefect.resource.id": _resource(*about), "prefect.resource.name": about[1]},
        related=[
            {"prefect.resource.id": _resource(kind, name), "prefect.resource.role": kind}
            for kind, name in (("home", str(home)), *others)
            if name
        ]
        + ([{"prefect.resource.id": of_run, "prefect.resource.role": "flow-run"}] if of_run else []),
        payload=dict(payload),
    )
    # Not by `emit_event`: its queue loses, without a word, what a busy server does not take at once.
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
    except Exception as error:  # it must not fail what it only tells of
        tell(f"event evo.{occasion} was not sent ({type(error).__name__}: {str(error)[:200]})")


def promoted(home: Path, done: Promotion, by: str, why: str) -> None:
    """Another version of a name is in use: by a gate, by force, or since somebody went back to it."""
    if done.new:
        told = {"champion": done.version.label, "before": done.before, "by": by, "why": why}
        model, gate = ("model", done.version.model_id), ("gate", done.gate_id)
        announce(home, "model.promoted", model, gate, payload=told)


def _resource(kind: str, name: str) -> str:
    return f"evo.{kind}.{name}"
