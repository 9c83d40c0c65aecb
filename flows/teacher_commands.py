"""The `evo teacher` commands."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flows.console import Json, console, say
from flows.settings import state
from schemas.errors import EvoError

teacher_app = typer.Typer(
    help="Look at teachers and at what they were paid.", no_args_is_help=True, rich_markup_mode=None
)


@teacher_app.command("check", epilog="Example: evo teacher check http://127.0.0.1:8000/v1 --model Qwen/Qwen3-4B")
def teacher_check(
    endpoints: Annotated[list[str], typer.Argument(metavar="URL...", help="OpenAI-compatible base URLs.")],
    model: Annotated[str, typer.Option(help="The model that each is to serve.")],
    key_env: Annotated[
        str, typer.Option(help="The environment variable that holds the API key.")
    ] = "EVO_TEACHER_API_KEY",
    as_json: Json = False,
) -> None:
    """See that a teacher can be reached, takes the key and serves the model; asks it nothing."""
    import asyncio

    from pydantic import ValidationError

    from schemas.teacher import TeacherConfig
    from synth.teacher import Teacher
    from warehouse.ledger import SqliteLedger

    try:
        config = TeacherConfig(model=model, endpoints=tuple(endpoints), api_key_env=key_env)
    except ValidationError as error:
        raise EvoError(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from None

    async def look() -> int | None:
        async with Teacher(config, SqliteLedger.open(state()), "check") as teacher:
            return await teacher.check()

    window = asyncio.run(look())
    told = f"{window} tokens of context" if window else "context window not told"
    say({"model": model, "endpoints": endpoints, "context_window": window}, as_json, f"{model} is served; {told}")


@teacher_app.command("ledger", epilog="Example: evo teacher ledger --json")
def teacher_ledger(as_json: Json = False) -> None:
    """Calls, tokens and cost by scope, stage and model, over all runs; and calls that got no answer."""
    from rich.table import Table

    from warehouse.ledger import SqliteLedger

    ledger = SqliteLedger.open(state())
    rows, faults = ledger.totals(), ledger.faults()
    ledger.close()
    if as_json:
        print(json.dumps({"calls": rows, "faults": faults}))
        return
    if not rows:
        console.print("no teacher has answered a call yet")
    else:
        table = Table(*rows[0], title="Answered calls")
        for row in rows:
            table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
        console.print(table)
    if faults:
        console.print("without an answer: " + ", ".join(f"{kind} {count}" for kind, count in faults.items()))
