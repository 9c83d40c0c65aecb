"""The `evo` command. Errors are one sentence; exit codes: 0 done, 1 failed, 2 usage."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from flows.console import Json, console, say
from flows.recipes import RECIPES, changed, checked, with_teacher
from flows.recipes import recipe as named_recipe
from flows.settings import state
from flows.teacher_commands import teacher_app
from schemas.configs import Recipe
from schemas.errors import EvoError

# A failed flow logs a traceback; here the one sentence says it. Prefect keeps the whole log.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

app = typer.Typer(
    name="evo",
    help="From real documents to traced, evolvable embedding models. State lives under $EVO_HOME (default ./.evo).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
dataset_app = typer.Typer(help="Publish and read dataset versions.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(dataset_app, name="dataset")
app.add_typer(teacher_app, name="teacher")
EXAMPLES = Path(__file__).parent / "examples"

RecipeName = Annotated[str, typer.Option("--recipe", help=f"One of: {', '.join(RECIPES)}; or a file.")]


@app.command(epilog="Example: evo demo")
def demo(
    smallest: Annotated[bool, typer.Option(help="A minute's run that proves the path, not the quality.")] = False,
) -> None:
    """Run the whole pipeline, offline and small: funnel, score table, lineage tree."""
    from flows.pipeline import finished, pipeline

    recipe = named_recipe("smallest" if smallest else "demo")
    source = str(EXAMPLES / "peps.parquet")
    model = finished(state(), recipe, source)
    if model:
        console.print("Everything is done already; here is what the last run made.\n")
    else:
        model = pipeline(state(), recipe, source)
    _print_funnel(False)
    _print_scores(model.model_id, "heldout", False)
    console.print()
    trace(model.model_id)


@app.command(epilog="Example: evo ingest notes/   evo ingest corpus.parquet   evo ingest owner/name")
def ingest(
    source: Annotated[
        str, typer.Argument(help="txt, md, rst, jsonl or Parquet file, a folder, or a Hugging Face dataset id.")
    ],
    as_json: Json = False,
) -> None:
    """Read documents into the warehouse; every line that cannot be read is reported and kept in `failures`."""
    from flows.ingest import ingest as flow

    done = flow(state(), source)
    for failed in done.failures:
        print(f"{failed.item}: {failed.reason}", file=sys.stderr)
    say(
        done.model_dump(),
        as_json,
        f"{done.read} documents read from {source}, {done.new} new, {len(done.failures)} rejected",
    )
    if not done.read:
        raise EvoError(
            f"'{source}' gave no document; {len(done.failures)} rows were rejected, see above; mend them and rerun"
        )


Contexts = Annotated[int | None, typer.Option(min=0, help="Simulated training contexts (the recipe's by default).")]
Seed = Annotated[int | None, typer.Option(help="Seed of simulator and teaching (the recipe's by default).")]
Teachers = Annotated[
    list[str] | None, typer.Option("--teacher", metavar="URL", help="A teacher's base URL; repeat it for replicas.")
]
Model = Annotated[str | None, typer.Option(help="The model that the teacher serves.")]
Personas = Annotated[int | None, typer.Option(min=0, help="Dialogues to be written by the teacher.")]
Documents = Annotated[int | None, typer.Option(min=0, help="Documents that the teacher is asked about.")]
BudgetCalls = Annotated[int | None, typer.Option(min=0, help="Calls, over all runs of this recipe's name.")]
BudgetTokens = Annotated[int | None, typer.Option(min=0, help="Tokens, over all runs.")]
BudgetMoney = Annotated[float | None, typer.Option(min=0, help="Money by the recipe's prices, over all runs.")]
RecipeArgument = Annotated[str, typer.Argument(help=f"One of: {', '.join(RECIPES)}; or a .toml or .json file.")]


class Sizes(NamedTuple):
    """Options that stand in for settings of the recipe."""

    contexts: int | None = None
    seed: int | None = None
    personas: int | None = None
    documents: int | None = None
    calls: int | None = None
    tokens: int | None = None
    money: float | None = None


def _chosen(name: str, endpoints: list[str] | None, model: str | None, sizes: Sizes) -> Recipe:
    """The recipe, with what the options change."""
    chosen = with_teacher(named_recipe(name), endpoints or [], model)
    seed = {"seed": sizes.seed}
    teaching = None
    if chosen.teaching:
        teaching = changed(
            chosen.teaching,
            dialogue=changed(chosen.teaching.dialogue, personas=sizes.personas),
            web=changed(chosen.teaching.web, documents=sizes.documents),
            budget=changed(chosen.teaching.budget, calls=sizes.calls, tokens=sizes.tokens, money=sizes.money),
            **seed,
        )
    elif any(value is not None for value in sizes[2:]):
        raise EvoError(
            f"recipe '{name}' has no teacher, so personas, documents and budgets mean nothing; nothing was run; "
            "add --teacher URL --model NAME"
        )
    sized = changed(chosen, simulator=changed(chosen.simulator, contexts=sizes.contexts, **seed), teaching=teaching)
    return checked(sized.model_dump(), "the options")


@app.command(
    epilog="Example: evo synthesize demo --contexts 500   "
    "evo synthesize taught --teacher http://127.0.0.1:8000/v1 --model Qwen/Qwen3-4B --personas 100 --budget-calls 5000"
)
def synthesize(
    recipe: RecipeArgument = "demo",
    contexts: Contexts = None,
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    personas: Personas = None,
    documents: Documents = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    as_json: Json = False,
) -> None:
    """Make the episodes that the recipe lacks: simulated, from documents, and by teachers where it has any."""
    from flows.synthesize import synthesize as flow

    sizes = Sizes(contexts, seed, personas, documents, budget_calls, budget_tokens, budget_money)
    chosen = _chosen(recipe, teacher, model, sizes)
    new = flow(state(), chosen)
    if not as_json:
        _print_made(chosen)
    say({"new_episodes": new}, as_json, f"{new} new episodes")


@app.command(epilog="Example: evo retry taught")
def retry(
    recipe: RecipeArgument = "taught",
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    personas: Personas = None,
    documents: Documents = None,
    as_json: Json = False,
) -> None:
    """Ask teachers once more for what they left unanswered, and for nothing else."""
    from flows.synthesize import retry as flow

    chosen = _chosen(recipe, teacher, model, Sizes(None, seed, personas, documents))
    if chosen.teaching is None:
        raise EvoError(f"recipe '{recipe}' has no teacher, so nothing can be retried; add --teacher URL --model NAME")
    new = flow(state(), chosen)
    if not as_json:
        _print_made(chosen)
    say({"new_episodes": new}, as_json, f"{new} new episodes")


@app.command(epilog="Example: evo plan taught --json   evo plan mine.toml")
def plan(
    recipe: RecipeArgument = "demo",
    contexts: Contexts = None,
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    personas: Personas = None,
    documents: Documents = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do: items done, pending and invalidated by which component; calls, tokens, cost, hours."""
    from flows.plan import make_plan, plan_table

    rows = make_plan(state(), _chosen(recipe, teacher, model, Sizes(contexts, seed, personas, documents)))
    if as_json:
        print(json.dumps([row.model_dump() for row in rows]))
    else:
        console.print(plan_table(rows))


@dataset_app.command("publish", epilog="Example: evo dataset publish peps --recipe demo")
def dataset_publish(
    name: Annotated[str, typer.Argument(help="The dataset's name; the version number is given.")],
    recipe: RecipeName = "demo",
    contexts: Contexts = None,
    seed: Seed = None,
    teacher: Teachers = None,
    model: Model = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A benchmark's file or folder, repeatable: nothing of it is published."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish the recipe's episodes as NAME@N, less near-duplicates and what benchmarks hold.

    The same content gives the same version.
    """
    from flows.build_dataset import publish_version
    from warehouse.catalog import Warehouse
    from warehouse.versions import left_out

    chosen = _chosen(recipe, teacher, model, Sizes(contexts, seed))
    curation = changed(chosen.curation, benchmarks=tuple(decontaminate) if decontaminate else None)
    version = publish_version.fn(state(), name, changed(chosen, curation=curation))
    with Warehouse.open(state()) as warehouse:
        out = left_out(warehouse, version)
    told = f"; left out: {', '.join(f'{check} {count}' for check, count in out.items())}" if out else ""
    told = f"{version.label}: {version.episodes} episodes, digest {version.digest}{told}"
    say({**version.model_dump(), "left_out": out}, as_json, told)


@dataset_app.command("list", epilog="Example: evo dataset list --json")
def dataset_list(as_json: Json = False) -> None:
    """List dataset versions."""
    from warehouse.catalog import Warehouse
    from warehouse.versions import list_versions

    with Warehouse.open(state()) as warehouse:
        versions = list_versions(warehouse)
    lines = [f"{v.label}  {v.episodes} episodes  {v.digest[:12]}  {v.created_at}" for v in versions]
    say([v.model_dump() for v in versions], as_json, "\n".join(lines) or "no dataset version yet")


@dataset_app.command("show", epilog="Example: evo dataset show demo@1")
def dataset_show(
    dataset: Annotated[str, typer.Argument(help="NAME@N, or NAME for its newest.")], as_json: Json = False
) -> None:
    """Show a dataset version: digest, parent, snapshot, commit, recipe, what was left out."""
    from warehouse.catalog import Warehouse
    from warehouse.versions import left_out, resolve

    with Warehouse.open(state()) as warehouse:
        version = resolve(warehouse, dataset)
        fields = {**version.model_dump(), "left_out": left_out(warehouse, version)}
    say(fields, as_json, "\n".join(f"{key:12} {value}" for key, value in fields.items()))


@dataset_app.command("funnel", epilog="Example: evo dataset funnel --json")
def dataset_funnel(as_json: Json = False) -> None:
    """Questions in, kept and rejected by reason, per generator."""
    _print_funnel(as_json)


@app.command(epilog="Example: evo shard demo@1")
def shard(
    dataset: Annotated[str, typer.Argument(help="NAME@N, or NAME for its newest.")],
    recipe: RecipeName = "demo",
    backbone: Annotated[str | None, typer.Option(help="tiny, or a Hugging Face folder or id.")] = None,
    force: Annotated[bool, typer.Option(help="Write the shards again, for example after damage.")] = False,
    as_json: Json = False,
) -> None:
    """Tokenise a dataset version and write its length-sorted shards."""
    from flows.build_dataset import shard_version

    config = named_recipe(recipe).train.model
    shards = shard_version.fn(
        state(), dataset, config.model_copy(update={"backbone": backbone} if backbone else {}), force
    )
    say(shards.model_dump(), as_json, f"{shards.shard_set_id}: {shards.rows} rows at {shards.path}")


@app.command(epilog="Example: evo train demo@1 --steps 200")
def train(
    dataset: Annotated[str, typer.Argument(help="NAME@N, or NAME for its newest.")],
    recipe: RecipeName = "demo",
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    backbone: Annotated[str | None, typer.Option(help="tiny, or a Hugging Face folder or id.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    memory: Annotated[bool, typer.Option(help="Train without the memory: the ablation, a static model.")] = True,
    nproc: Annotated[int, typer.Option(min=1, help="Ranks on this machine.")] = 1,
    as_json: Json = False,
) -> None:
    """Train a model on a dataset version with DeepSpeed; a killed run resumes at its last checkpoint."""
    from flows.train import train as flow

    config = named_recipe(recipe).train
    changes = {k: v for k, v in (("steps", steps), ("seed", seed)) if v is not None}
    model_changes = {"memory": memory, **({"backbone": backbone} if backbone else {})}
    model_config = config.model.model_copy(update=model_changes)
    model = flow(state(), dataset, config.model_copy(update={**changes, "model": model_config}), nproc)
    say(model.model_dump(), as_json, f"{model.model_id} at {model.path}")


@app.command(epilog="Example: evo evaluate model-0a1b --benchmark locomo --path locomo10.json")
def evaluate(
    model: Annotated[str, typer.Argument(help="A model id.")],
    benchmark: Annotated[str, typer.Option(help="heldout or locomo.")] = "heldout",
    path: Annotated[str | None, typer.Option(help="The benchmark's file, where it has one.")] = None,
    recipe: RecipeName = "demo",
    as_json: Json = False,
) -> None:
    """Score a model, the same model without its memory, and the baselines."""
    from flows.evaluate import evaluate as flow

    flow(state(), model, benchmark, named_recipe(recipe), path)
    _print_scores(model, benchmark, as_json)


@app.command(epilog="Example: evo trace model-0a1b --json")
def trace(
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="A model, run, shard set, dataset, episode, context or document.")
    ],
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Samples shown per list; totals are always given.")] = 3,
) -> None:
    """Walk from a model down to the documents that it came from."""
    from warehouse.catalog import Warehouse
    from warehouse.lineage import as_dict, render_tree
    from warehouse.lineage import trace as walk

    with Warehouse.open(state()) as warehouse:
        tree = walk(warehouse, identity, limit=limit)
    say(as_dict(tree), as_json, render_tree(tree))


@app.command(epilog="Example: evo impact doc-0a1b2c   evo impact Qwen3-30B-A3B-Instruct-2507 --json")
def impact(
    identity: Annotated[
        str,
        typer.Argument(metavar="ID", help="A document, context, question, episode, teacher call or model, or NAME@N."),
    ],
    as_json: Json = False,
) -> None:
    """Walk up from a source to every dataset version, model and score that used it."""
    from warehouse.catalog import Warehouse
    from warehouse.impact import impact as walk
    from warehouse.lineage import as_dict, render_tree

    with Warehouse.open(state()) as warehouse:
        tree = walk(warehouse, identity)
    say(as_dict(tree), as_json, render_tree(tree))


def _print_made(recipe: Recipe) -> None:
    """The funnel; and the report of the teaching, where there was any."""
    from flows.synthesis_report import report_path

    _print_funnel(False)
    if recipe.teaching:
        path = report_path(state(), recipe)
        if path.exists():
            console.print(path.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)


def _print_funnel(as_json: bool) -> None:
    from rich.table import Table

    from warehouse.catalog import Warehouse
    from warehouse.funnel import funnel

    with Warehouse.open(state()) as warehouse:
        rows = funnel(warehouse)
    if as_json:
        print(json.dumps(rows.to_dicts()))
        return
    table = Table(*rows.columns, title="Funnel: questions in, kept and rejected")
    for row in rows.iter_rows():
        table.add_row(*map(str, row))
    console.print(table)


def _print_scores(model_id: str, benchmark: str, as_json: bool) -> None:
    from evaluation.report import score_table
    from flows.evaluate import GROUPS, stored_scores
    from warehouse.catalog import Warehouse

    with Warehouse.open(state()) as warehouse:
        scores = stored_scores(warehouse, model_id, benchmark)
    if as_json:
        print(json.dumps(scores.to_dicts()))
    else:
        types = [t for t in (*GROUPS, *GROUPS["state"]) if t in set(scores["question_type"])]
        console.print(score_table(scores, types))


def main() -> None:
    """Run the command; a user's mistake ends in one sentence and exit code 1."""
    try:
        app()
    except EvoError as error:
        print(f"evo: {error}", file=sys.stderr)
        sys.exit(1)
    except RuntimeError as error:
        if "Prefect API" not in str(error):
            raise
        print(f"evo: Prefect did not start: {error}; nothing was run; rerun, or set PREFECT_API_URL", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("evo: interrupted; what was committed is kept, rerun the same command to go on", file=sys.stderr)
        sys.exit(130)
