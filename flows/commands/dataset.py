"""The `evo dataset` commands."""

from __future__ import annotations

from typing import Annotated

import typer

from evoembedding.flows.commands.dataset_versions import diff, expire, tag
from evoembedding.flows.commands.expectation_table import expectations_told, print_expectations, refuse_draft
from evoembedding.flows.commands.options import (
    Contexts,
    Dataset,
    Decontaminate,
    Model,
    RecipeName,
    Seed,
    Sizes,
    Teachers,
    chosen_recipe,
)
from evoembedding.flows.commands.refresh import refresh
from evoembedding.flows.recipes import changed
from evoembedding.flows.settings import state
from evoembedding.flows.terminal.console import Json, say, say_json, say_table, warn
from evoembedding.schemas.text import shown

dataset_app = typer.Typer(help="Publish and read dataset versions.", no_args_is_help=True, rich_markup_mode=None)


@dataset_app.command("publish", epilog="Example: evo dataset publish peps --recipe demo")
def dataset_publish(
    name: Annotated[str, typer.Argument(help="The dataset's name; the version number is given.")],
    recipe: RecipeName = "demo",
    contexts: Contexts = None,
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    decontaminate: Decontaminate = None,
    accept_anyway: Annotated[
        str | None,
        typer.Option(metavar="WHY", help="Why it may be trained on though it is not what the recipe expects."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish the recipe's episodes as NAME@N, less near-duplicates and what benchmarks hold.

    The same content gives the same version. Exit code 3 where it is not what the recipe expects: it is then a draft,
    on which nothing is trained.
    """
    from evoembedding.flows.build_dataset import publish_version
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.draft_versions import judged_of
    from evoembedding.warehouse.datasets.versions import left_out

    if accept_anyway is not None and not accept_anyway.strip():
        raise typer.BadParameter("--accept-anyway needs a reason: who reads the history will ask")

    chosen = chosen_recipe(recipe, teacher, model, Sizes(contexts, seed))
    curation = changed(chosen.curation, benchmarks=tuple(decontaminate) if decontaminate else None)
    # The function, not the task: outside of a flow Prefect would first start a server for it.
    version = publish_version.fn(state(), name, changed(chosen, curation=curation), (accept_anyway or "").strip())
    with Warehouse.open(state()) as warehouse:
        out, judged = left_out(warehouse, version), judged_of(warehouse, version.dataset_id)
    rest = f"; left out: {', '.join(f'{check} {count}' for check, count in out.items())}" if out else ""
    text = f"{version.label}: {version.episodes} episodes, digest {version.digest}{rest}"
    if judged and not as_json:
        print_expectations(version.label, judged)
    say({**version.model_dump(), "left_out": out, **expectations_told(judged)}, as_json, text)
    if accept_anyway and (judged is None or judged.state == "passed"):
        warn(f"there was nothing to accept: {version.label} is no draft")
    # Last: what was found is shown before the command ends with 3.
    refuse_draft(version, judged)


@dataset_app.command("list", epilog="Example: evo dataset list --json")
def dataset_list(as_json: Json = False) -> None:
    """List dataset versions, with their tags."""
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.draft_versions import draft_versions
    from evoembedding.warehouse.datasets.versions import list_versions, present_versions, tags

    with Warehouse.open(state()) as warehouse:
        versions, there, drafts = list_versions(warehouse), present_versions(warehouse), draft_versions(warehouse)
        tagged = {name: tags(warehouse, name) for name in {v.name for v in versions}}
    rows, lines = [], []
    for v in versions:
        own = [tag for tag, dataset_id in tagged[v.name].items() if dataset_id == v.dataset_id]
        states = {"retired": v.dataset_id not in there, "draft": v.dataset_id in drafts}
        rows.append({**v.model_dump(), "tags": own, **states})
        cells = [v.label, f"{v.episodes} episodes", v.digest[:12], v.created_at.isoformat(), ", ".join(own)]
        lines.append("  ".join(part for part in (*cells, *(name for name, is_so in states.items() if is_so)) if part))
    say(rows, as_json, "\n".join(lines) or "no dataset version yet")


@dataset_app.command("show", epilog="Example: evo dataset show demo@1")
def dataset_show(dataset: Dataset, as_json: Json = False) -> None:
    """Show a dataset version: digest, parent, snapshot, commit, recipe, what was left out, its tags, whether it is what
    its recipe expects.
    """
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.draft_versions import judged_of
    from evoembedding.warehouse.datasets.versions import left_out, present_versions, resolve, tags

    with Warehouse.open(state()) as warehouse:
        # Also one whose episodes are gone: what it was stays known, and lineage leads to it.
        version = resolve(warehouse, dataset, retired=True)
        own = [tag for tag, identity in tags(warehouse, version.name).items() if identity == version.dataset_id]
        fields = {**version.model_dump(mode="json"), "left_out": left_out(warehouse, version), "tags": own}
        fields["retired"] = version.dataset_id not in present_versions(warehouse)
        judged = judged_of(warehouse, version.dataset_id)
    lines = [f"{key:12} {value}" for key, value in fields.items()]
    if judged:
        lines.append(f"{'state':12} {judged.state}")
    if judged and judged.accepted:
        lines.append(f"{'accepted':12} by {judged.accepted.accepted_by}: {shown(judged.accepted.reason)}")
    say({**fields, **expectations_told(judged)}, as_json, "\n".join(lines))
    if judged and not as_json:
        print_expectations(version.label, judged)


@dataset_app.command("funnel", epilog="Example: evo dataset funnel --json")
def dataset_funnel(as_json: Json = False) -> None:
    """Questions in, kept and rejected by reason, per generator."""
    print_funnel(as_json)


dataset_app.command("refresh", epilog="Example: evo dataset refresh demo   evo dataset refresh demo --synthesize")(
    refresh
)
dataset_app.command("diff", epilog="Example: evo dataset diff demo@1 demo@2")(diff)
dataset_app.command("tag", epilog="Example: evo dataset tag demo@2 stable   evo dataset tag demo")(tag)
dataset_app.command("expire", epilog="Example: evo dataset expire demo@1 demo@2   evo dataset expire --yes")(expire)


def print_funnel(as_json: bool) -> None:
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.datasets.funnel import funnel

    with Warehouse.open(state()) as warehouse:
        rows = funnel(warehouse)
    if as_json:
        say_json(rows.to_dicts())
    else:
        say_table(
            ("generator", "outcome", "check", "reason", "questions"),
            rows.rows(),
            "Funnel: questions in, kept and rejected",
            keys=2,
        )
