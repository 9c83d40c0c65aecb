"""A home's figures in Prometheus' text form: freshness, yield, backlog and spend. Names are `evo_...`."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from evoembedding.flows.status import Status
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import write_whole


def figures(status: Status) -> str:
    """The text that Prometheus reads."""
    # Not the library's own, which adds figures of this process and takes each name only once.
    registry = CollectorRegistry()

    def gauge(name: str, says: str, *labels: str) -> Gauge:
        return Gauge(name, says, labels, registry=registry)

    gauge("evo_status_timestamp_seconds", "When these figures were read.").set(status.at.timestamp())
    published = gauge("evo_dataset_newest_timestamp_seconds", "When the newest version was published.", "dataset")
    episodes = gauge("evo_dataset_newest_episodes", "Episodes of a dataset's newest version.", "dataset")
    for version in status.datasets:
        published.labels(version.name).set(version.created_at.timestamp())
        episodes.labels(version.name).set(version.episodes)
    newest = gauge("evo_model_newest_timestamp_seconds", "When a name got its newest version.", "model")
    # A figure is a number: what is a word stands in a label, of a figure that is 1.
    champion = gauge("evo_model_champion", "1 for the version that is in use.", "model", "version", "model_id")
    gate = gauge("evo_model_last_gate", "1 for what the last gate of a name found.", "model", "version", "outcome")
    for model in status.models:
        newest.labels(model.name).set(model.newest_at.timestamp())
        if model.champion:
            champion.labels(model.name, model.champion, model.champion_model).set(1)
        if model.gate:
            gate.labels(model.name, model.gated, model.gate).set(1)
    decided = gauge("evo_retrain_last_timestamp_seconds", "The last decision.", "model", "decision", "outcome")
    for decision in status.decisions:
        decided.labels(decision.name, decision.decision, decision.outcome).set(decision.at.timestamp())
    questions = gauge("evo_questions", "Questions drafted, and kept as episodes.", "generator", "outcome")
    for one in status.yields:
        questions.labels(one.generator, "drafted").set(one.drafted)
        questions.labels(one.generator, "kept").set(one.kept)
    backlog = gauge("evo_pending_items", "What a recipe has yet to work on.", "dataset", "recipe", "kind", "stage")
    for left in status.pending:
        backlog.labels(left.dataset, left.recipe, left.kind, left.stage).set(left.items)
    running = gauge("evo_running", "1 for what is at work in the home.", "job", "subject")
    for job in status.running:
        running.labels(job.job, job.subject).set(1)
    cost = gauge("evo_teacher_cost", "What answers cost, by recipe and month (UTC).", "recipe", "month")
    tokens = gauge("evo_teacher_tokens", "Tokens of prompts and answers, by recipe and month (UTC).", "recipe", "month")
    calls = gauge("evo_teacher_calls", "Answered calls, by recipe and month (UTC).", "recipe", "month")
    for paid in status.paid:
        for counted, value in ((cost, paid.cost), (tokens, paid.tokens), (calls, paid.calls)):
            counted.labels(paid.recipe, paid.month).set(value)
    return generate_latest(registry).decode()


def write_figures(status: Status, path: Path) -> None:
    """Write them to a file, whole or not at all, so that who collects it never reads half.

    Raises:
        EvoError: it cannot be written.
    """
    if path.is_dir():
        raise EvoError(f"'{path}' is a folder; no figures were written; name a file, such as '{path / 'evo.prom'}'")
    try:
        write_whole(path, figures(status))
    except OSError as error:
        raise EvoError(
            f"'{path}' cannot be written ({error.strerror}); no figures were written; name another file"
        ) from error
