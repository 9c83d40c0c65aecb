"""The `evo` command: what it can be asked. Files beside this one hold a command or a few each; `entry.py` runs them.

Commands import what they work with when they run: help and completion wait for no torch and no Prefect.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from evoembedding.flows.commands import exchange as exchange_commands
from evoembedding.flows.commands.backup import backup, restore
from evoembedding.flows.commands.dataset import dataset_app
from evoembedding.flows.commands.demo import demo
from evoembedding.flows.commands.doctor import doctor
from evoembedding.flows.commands.evaluate import evaluate
from evoembedding.flows.commands.gate import gate
from evoembedding.flows.commands.import_model import import_model
from evoembedding.flows.commands.ingest import ingest
from evoembedding.flows.commands.lineage import lineage_app
from evoembedding.flows.commands.model import model_app
from evoembedding.flows.commands.report import report
from evoembedding.flows.commands.rerun import rerun
from evoembedding.flows.commands.retrain import retrain
from evoembedding.flows.commands.run import run_app
from evoembedding.flows.commands.shard import shard
from evoembedding.flows.commands.status import status
from evoembedding.flows.commands.synthesis import plan, retry, synthesize
from evoembedding.flows.commands.teacher import teacher_app
from evoembedding.flows.commands.trace import impact, trace
from evoembedding.flows.commands.train import train
from evoembedding.flows.settings import package_version
from evoembedding.flows.terminal.console import say_text

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
app.add_typer(model_app, name="model")
app.add_typer(run_app, name="run")
app.add_typer(teacher_app, name="teacher")


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


app.command(epilog="Example: evo demo   evo demo --smallest --json")(demo)
app.command(epilog="Example: evo ingest notes/   evo ingest corpus.parquet   evo ingest owner/name")(ingest)
app.command(
    epilog="Example: evo synthesize demo --contexts 500   "
    "evo synthesize taught --teacher http://127.0.0.1:8000/v1 --model Qwen/Qwen3-4B --personas 100 --budget-calls 5000"
    "   evo synthesize taught --preview 2   evo synthesize demo --only doc-0a1b"
)(synthesize)
app.command(epilog="Example: evo retry taught")(retry)
app.command(epilog="Example: evo status   evo status --json   evo status --prometheus /srv/metrics/evo.prom")(status)
app.command(epilog="Example: evo rerun 0190c2a4-5e1b-7c3d-9f2a-0b1c2d3e4f50")(rerun)
app.command(epilog="Example: evo plan taught --json   evo plan mine.toml")(plan)
app.command(epilog="Example: evo shard demo@1")(shard)
app.command(
    epilog="Example: evo train demo@1 --name support   evo train demo@1 --steps 200 --ablate no-queue   "
    "evo train demo@1 --epochs 1 --nproc 8 --batches-per-step 16 --zero 2"
)(train)
app.command(
    epilog="Example: evo evaluate support@champion   evo evaluate model-0a1b --benchmark locomo --path locomo10.json"
)(evaluate)
app.command(epilog="Example: evo gate support@candidate   evo gate model-0a1b --against support@champion --json")(gate)
app.command(epilog="Example: evo retrain support   evo retrain support --recipe mine.toml --dry-run")(retrain)
app.command(epilog="Example: evo report demo@1   evo report model-0a1b --output report.html")(report)
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
