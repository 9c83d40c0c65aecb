"""The `evo` command: what it can be asked. How it starts and ends is in `flows/terminal`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from evoembedding.flows.commands import exchange as exchange_commands
from evoembedding.flows.commands.backup import backup, restore
from evoembedding.flows.commands.dataset import dataset_app, print_funnel
from evoembedding.flows.commands.doctor import doctor
from evoembedding.flows.commands.import_model import import_model
from evoembedding.flows.commands.lineage import lineage_app
from evoembedding.flows.commands.options import (
    BenchmarkName,
    BudgetCalls,
    BudgetMoney,
    BudgetTokens,
    Contexts,
    Dataset,
    Documents,
    Model,
    Personas,
    RecipeArgument,
    RecipeName,
    Seed,
    Sizes,
    Teachers,
    chosen_recipe,
)
from evoembedding.flows.commands.teacher import teacher_app
from evoembedding.flows.commands.trace import impact, trace
from evoembedding.flows.recipes import changed
from evoembedding.flows.recipes import recipe as named_recipe
from evoembedding.flows.settings import package_version, state
from evoembedding.flows.terminal import completion, prefect_server
from evoembedding.flows.terminal.console import Json, console, say, say_json, say_table, say_text, warn
from evoembedding.flows.terminal.tables import fitted
from evoembedding.schemas.ablations import ABLATIONS, ablated
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.places import resolve as resolve_place
from evoembedding.schemas.text import shown
from evoembedding.trainer.backbones.known import BACKBONES

if TYPE_CHECKING:
    import polars as pl

    from evoembedding.warehouse.catalog import Warehouse


# A failed flow logs a traceback; here the one sentence says it. Prefect keeps the whole log.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

app = typer.Typer(
    name="evo",
    help="From real documents to traced, evolvable embedding models. State lives under $EVO_HOME (default ./.evo).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dataset_app.command("export", epilog="Example: evo dataset export demo@1 exported/ --format jsonl")(
    exchange_commands.export
)
dataset_app.command("import", epilog="Example: evo dataset import MiG-NJU/EvoTrain-180K evotrain180k")(
    exchange_commands.import_
)
app.add_typer(dataset_app, name="dataset")
app.add_typer(lineage_app, name="lineage")
app.add_typer(teacher_app, name="teacher")
T = TypeVar("T")
BACKBONE = f"{', '.join(BACKBONES)}, or a Hugging Face folder or id."
EXAMPLES = Path(__file__).parents[1] / "examples"


def _print_version(asked: bool) -> None:
    if asked:
        say_text("evo, not installed" if package_version() == "unknown" else f"evo {package_version()}")
        raise typer.Exit


@app.callback()
def evo(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """From real documents to traced, evolvable embedding models. State lives under $EVO_HOME (default ./.evo)."""


@app.command(epilog="Example: evo demo   evo demo --smallest --json")
def demo(
    smallest: Annotated[bool, typer.Option(help="A minute's run that proves the path, not the quality.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline, offline and small: funnel, score table, lineage tree, report page."""
    from evoembedding.flows.evaluate import heldout, stored_scores
    from evoembedding.flows.pipeline import finished, pipeline
    from evoembedding.flows.report.page import write_report
    from evoembedding.warehouse.datasets.funnel import funnel

    recipe = named_recipe("smallest" if smallest else "demo")
    source = str(EXAMPLES / "peps.parquet")
    model = finished(state(), recipe, source)
    if model and not as_json:
        say_text("Everything is done already; here is what the last run made.\n")
    if not model:
        prefect_server.ready(state())
        model = pipeline(state(), recipe, source)
    scores = _look(lambda warehouse: stored_scores(warehouse, model.model_id, heldout(recipe)))
    if as_json:
        told = _look(
            lambda warehouse: {
                "model": model.model_dump(),
                "funnel": funnel(warehouse).to_dicts(),
                "scores": scores.to_dicts(),
                "report": str(write_report(warehouse, state(), model.model_id)),
            }
        )
        say_json(told)
        return
    print_funnel(False)
    _print_scores(scores, False)
    if smallest:
        say_text(
            f"{recipe.train.steps} steps prove that the path works, and nothing of quality: any system may be first or "
            f"last here; 'evo demo' trains {named_recipe('demo').train.steps}"
        )
    say_text("")
    trace(model.model_id, limit=1)
    say_text("")
    report(model.model_id)


@app.command(epilog="Example: evo ingest notes/   evo ingest corpus.parquet   evo ingest owner/name")
def ingest(
    source: Annotated[
        str, typer.Argument(help="txt, md, rst, jsonl or Parquet file, a folder, or a Hugging Face dataset id.")
    ],
    license: Annotated[str, typer.Option(help="The licence of documents that carry none.")] = "",
    sync: Annotated[bool, typer.Option("--sync", help="What the source no longer holds is gone.")] = False,
    name: Annotated[str, typer.Option("--as", help="What the source is called, when it has moved.")] = "",
    as_json: Json = False,
) -> None:
    """Read documents into the warehouse: what is new, what changed and replaces what was there before.

    Every file and line that cannot be read is reported and kept in `failures`.
    """
    from evoembedding.flows.ingest import ingest as flow
    from evoembedding.synth.documents import told_unread

    prefect_server.ready(state())
    done = flow(state(), source, license, sync, name)
    for failed in done.failures:
        warn(f"{failed.item}: {failed.reason}")
    say(
        done.model_dump(),
        as_json,
        f"{done.read} documents read from {shown(source, 200)}: {done.new} new, {done.changed} changed, "
        f"{done.gone} gone, {done.unchanged} unchanged, {len(done.failures)} rejected"
        + (f"; {done.namesakes} named like one of another source, and both are used" if done.namesakes else "")
        + (f"; withdrawn, and still not used: {', '.join(done.withdrawn)}" if done.withdrawn else "")
        + (f"; of kinds that are not read: {told_unread(done.unread)}" if done.unread else ""),
    )
    if done.failures:
        kept = "the rest is stored" if done.read else f"'{shown(source, 200)}' gave no document"
        first = done.failures[0]
        raise EvoError(
            f"{len(done.failures)} rejected (first {shown(first.item, 200)}: {first.reason}) and kept in 'failures'; "
            f"{kept}; mend them and rerun"
        )


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
    from evoembedding.flows.synthesize import finished
    from evoembedding.flows.synthesize import synthesize as flow
    from evoembedding.flows.teaching.unanswered import unanswered

    sizes = Sizes(contexts, seed, personas, documents, budget_calls, budget_tokens, budget_money)
    chosen = chosen_recipe(recipe, teacher, model, sizes)
    if _look(lambda warehouse: finished(warehouse, chosen)):
        warn("everything that the recipe asks for is there already")
        new = 0
    else:
        prefect_server.ready(state())
        new = flow(state(), chosen)
    if not as_json:
        _print_made(chosen)
    say({"new_episodes": new}, as_json, f"{new} new episodes")
    if left := _look(lambda warehouse: unanswered(warehouse, chosen)):
        raise EvoError(left)


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
    from evoembedding.flows.synthesize import retry as flow
    from evoembedding.flows.teaching.unanswered import unanswered

    chosen = chosen_recipe(recipe, teacher, model, Sizes(None, seed, personas, documents))
    if chosen.teaching is None:
        raise EvoError(f"recipe '{recipe}' has no teacher, so nothing can be retried; add --teacher URL --model NAME")
    prefect_server.ready(state())
    new = flow(state(), chosen)
    if not as_json:
        _print_made(chosen)
    say({"new_episodes": new}, as_json, f"{new} new episodes")
    if left := _look(lambda warehouse: unanswered(warehouse, chosen)):
        raise EvoError(left)


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
    from evoembedding.flows.teaching.plan import PLANNED, make_plan, plan_cells

    rows = make_plan(state(), chosen_recipe(recipe, teacher, model, Sizes(contexts, seed, personas, documents)))
    if as_json:
        say_json([row.model_dump() for row in rows])
    else:
        say_table(PLANNED, plan_cells(rows), "Plan: items by stage, and what is left to ask", keys=2)


@app.command(epilog="Example: evo shard demo@1")
def shard(
    dataset: Dataset,
    recipe: RecipeName = "demo",
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    force: Annotated[bool, typer.Option(help="Write the shards again, for example after damage.")] = False,
    as_json: Json = False,
) -> None:
    """Tokenise a dataset version and write its length-sorted shards."""
    from evoembedding.flows.build_dataset import shard_version
    from evoembedding.trainer.backbones.names import check_backbone_name

    config = named_recipe(recipe).train.model
    config = changed(config, backbone=backbone)
    check_backbone_name(config.backbone)
    shards = shard_version.fn(state(), dataset, config, force)
    path = resolve_place(shards.place, state())
    say({**shards.model_dump(), "path": str(path)}, as_json, f"{shards.shard_set_id}: {shards.rows} rows at {path}")


@app.command(
    epilog="Example: evo train demo@1 --steps 200   evo train demo@1 --ablate no-queue   "
    "evo train demo@1 --epochs 1 --nproc 8 --batches-per-step 16 --zero 2"
)
def train(
    dataset: Dataset,
    recipe: RecipeName = "demo",
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the shards, in place of steps.")] = None,
    batches_per_step: Annotated[
        int | None, typer.Option(min=1, help="Over all ranks, which share them evenly; the curve depends on it.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.")] = None,
    ablate: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Train without: {', '.join(ABLATIONS)}; repeatable.")
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Ranks on this machine.")] = 1,
    hostfile: Annotated[
        Path | None, typer.Option(help="Machines, a line 'NAME slots=N' each, started over ssh; state is shared.")
    ] = None,
    ssh_config: Annotated[Path | None, typer.Option(help="ssh's configuration file, in place of your own.")] = None,
    zero: Annotated[
        int | None, typer.Option(min=0, max=3, help="ZeRO stage: what ranks hold a part of each; 0 is nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model on a dataset version with DeepSpeed; a killed run resumes at its last checkpoint."""
    from evoembedding.warehouse.datasets.versions import resolve

    if hostfile and nproc != 1:
        raise EvoError(f"--nproc {nproc} and --hostfile both say where ranks run; nothing was trained; give one")
    if steps and epochs:
        raise EvoError(f"--steps {steps} and --epochs {epochs} both say how long; nothing was trained; give one")
    config = named_recipe(recipe).train
    config = changed(config, steps=steps, epochs=0 if steps else epochs, batches_per_step=batches_per_step, seed=seed)
    config = changed(config, zero_stage=zero, model=changed(config.model, backbone=backbone))
    for name in ablate or []:
        config = ablated(config, name)
    _look(lambda warehouse: resolve(warehouse, dataset))
    from evoembedding.flows.train import Ranks, models_of
    from evoembedding.flows.train import train as flow
    from evoembedding.trainer.backbones.names import check_backbone_name

    model = _look(lambda warehouse: next(models_of(warehouse, resolve(warehouse, dataset), config), None))
    if model:
        warn("it is trained already")
    else:
        check_backbone_name(config.model.backbone)
        prefect_server.ready(state())
        model = flow(state(), dataset, config, Ranks(nproc, hostfile, ssh_config))
    path = resolve_place(model.place, state())
    say({**model.model_dump(), "path": str(path)}, as_json, f"{model.model_id} at {path}")


@app.command(epilog="Example: evo evaluate model-0a1b --benchmark locomo --path locomo10.json")
def evaluate(
    model: Annotated[str, typer.Argument(help="A model id, or its beginning.", autocompletion=completion.models)],
    benchmark: BenchmarkName = "heldout",
    path: Annotated[str | None, typer.Option(help="The benchmark's file, where it has one.")] = None,
    recipe: RecipeName = "demo",
    as_json: Json = False,
) -> None:
    """Score a model, the same model without its memory, and the baselines."""
    from evoembedding.evaluation.benchmarks import read_benchmark
    from evoembedding.flows.evaluate import evaluate as flow
    from evoembedding.flows.evaluate import given, model_of, stored_scores
    from evoembedding.synth.simulator import simulators
    from evoembedding.warehouse.short_ids import whole_id

    chosen = named_recipe(recipe)
    model = _look(lambda warehouse: model_of(warehouse, whole_id(warehouse, model)).model_id)
    read = read_benchmark(benchmark, given(path, simulators(chosen)[1]))
    scores = _look(lambda warehouse: stored_scores(warehouse, model, read))
    if scores.is_empty():
        prefect_server.ready(state())
        scores = flow(state(), model, benchmark, chosen, path)
    else:
        warn("it is scored already")
    _print_scores(scores, as_json)


@app.command(epilog="Example: evo report demo@1   evo report model-0a1b --output report.html")
def report(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="NAME@N|MODEL",
            help="A dataset version, or a model id or its beginning.",
            autocompletion=completion.ids,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="The file to write; $EVO_HOME/reports/NAME.html by default.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file that shows it: lineage, funnel, lengths, samples, curves, scores. It loads nothing."""
    from evoembedding.flows.report.page import write_report
    from evoembedding.warehouse.catalog import Warehouse
    from evoembedding.warehouse.short_ids import whole_id

    with Warehouse.open(state()) as warehouse:
        path = write_report(warehouse, state(), whole_id(warehouse, identity), output)
    say({"report": str(path), "bytes": path.stat().st_size}, as_json, f"report: {path}")


app.command(epilog="Example: evo doctor   evo doctor --deep --json   evo doctor --remove-orphans")(doctor)
app.command(epilog="Example: evo backup /mnt/backups/2026-11-25")(backup)
app.command(epilog="Example: evo restore /mnt/backups/2026-11-25")(restore)
app.command("import-model", epilog="Example: evo import-model EvoEmbedding-4B/ qwen3-4b models/evoembedding-4b")(
    import_model
)
app.command(epilog="Example: evo trace model-0a1b --json   evo trace ep-0a1b --as-of demo@1 --mermaid")(trace)
app.command(
    epilog="Example: evo impact doc-0a1b2c   evo impact Qwen3-30B-A3B-Instruct-2507 --json   "
    "evo impact doc-0a1b2c --withdraw --dry-run"
)(impact)


def _look(ask: Callable[[Warehouse], T]) -> T:
    """Meet a mistake in the warehouse, or work that is done, before Prefect starts, which takes long."""
    from evoembedding.warehouse.catalog import Warehouse

    with Warehouse.open(state()) as warehouse:
        return ask(warehouse)


def _print_made(recipe: Recipe) -> None:
    """The funnel; and the report of the teaching, where there was any."""
    from evoembedding.flows.teaching.synthesis_report import report_path

    print_funnel(False)
    if recipe.teaching:
        path = report_path(state(), recipe)
        if path.exists():
            say_text(path.read_text(encoding="utf-8"))


def _print_scores(scores: pl.DataFrame, as_json: bool) -> None:
    from evoembedding.evaluation.report import OVERALL, score_table
    from evoembedding.flows.evaluate import GROUPS

    if as_json:
        say_json(scores.to_dicts())
    else:
        types = [t for t in (*GROUPS, *GROUPS["state"]) if t in set(scores["question_type"])]
        table = score_table(scores, types)
        console.print(fitted(console, table.columns, table.rows, table.title, first=1 + len(OVERALL)))
