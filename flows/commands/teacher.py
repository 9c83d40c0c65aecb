"""The `evo teacher` commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal import interrupt
from evoembedding.flows.terminal.console import Json, say, say_json, say_table, say_text
from evoembedding.schemas.errors import EvoError, first_fault

teacher_app = typer.Typer(
    help="Run teachers, look at them and at what they were paid.", no_args_is_help=True, rich_markup_mode=None
)
KeyEnv = Annotated[str, typer.Option(help="The environment variable that holds the API key.")]


@teacher_app.command("check", epilog="Example: evo teacher check http://127.0.0.1:8000/v1 --model Qwen/Qwen3-4B")
def teacher_check(
    endpoints: Annotated[list[str], typer.Argument(metavar="URL...", help="OpenAI-compatible base URLs.")],
    model: Annotated[str, typer.Option(help="The model that each is to serve.")],
    key_env: KeyEnv = "EVO_TEACHER_API_KEY",
    as_json: Json = False,
) -> None:
    """See that a teacher can be reached, takes the key and serves the model; asks it once where none is listed."""
    import asyncio

    from evoembedding.schemas.teacher import TeacherConfig
    from evoembedding.synth.teachers.teacher import Teacher
    from evoembedding.warehouse.ledger import open_ledger

    with _one_sentence():
        config = TeacherConfig(model=model, endpoints=tuple(endpoints), api_key_env=key_env)

    async def look() -> int | None:
        with closing(open_ledger(state())) as ledger:
            async with Teacher(config, ledger, "check") as teacher:
                return await teacher.check()

    window = asyncio.run(look())
    size = f"{window} tokens of context" if window else "context window not told"
    say({"model": model, "endpoints": endpoints, "context_window": window}, as_json, f"{model} is served; {size}")


@teacher_app.command(
    "serve",
    epilog="Example: evo teacher serve   "
    "evo teacher serve Qwen/Qwen3-30B-A3B-Instruct-2507 --tensor-parallel 2 -- --gpu-memory-utilization 0.92",
)
def teacher_serve(
    model: Annotated[
        str, typer.Argument(help="A folder or hub id; by default the SmolLM2 that `make teacher` prepares.")
    ] = "",
    flags: Annotated[list[str] | None, typer.Argument(metavar="-- FLAG", help="Flags passed on to vLLM.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    name: Annotated[str, typer.Option(help="What callers name the model; by default the last part of MODEL.")] = "",
    max_model_len: Annotated[int | None, typer.Option(min=64, help="Tokens of context (the model's own).")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="Calls worked on at once (vLLM's own).")] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share the model.")] = 1,
    dtype: Annotated[str, typer.Option(help="Such as bfloat16; on a CPU float32 by default.")] = "auto",
    start_timeout: Annotated[float, typer.Option(min=1, help="Seconds, of which a download may need many.")] = 900,
    key_env: KeyEnv = "EVO_TEACHER_API_KEY",
) -> None:
    """Run a vLLM server until Ctrl-C; it asks for the API key of the environment, where that holds one."""
    from evoembedding.flows.teaching.serve_teacher import LOOK_EVERY_S, last_words, running, served_name
    from evoembedding.schemas.teacher import ServeConfig

    flags = flags or []
    if model.startswith("-"):  # flags alone, behind `--`
        model, flags = "", [model, *flags]
    with _one_sentence():
        config = ServeConfig(
            model=model,
            served_name=name,
            host=host,
            port=port,
            dtype=dtype,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            tensor_parallel_size=tensor_parallel,
            extra_args=tuple(flags),
            start_timeout_s=start_timeout,
        )
    interrupt.expect()
    try:
        with running(config, state(), key_env) as server:
            say(None, False, f"evo teacher check {server.url} --model {served_name(config)}")
            say(None, False, f"{server.url} answers; Ctrl-C stops it; log: {server.log}")
            while server.process.poll() is None:  # a wait would not end where Ctrl-C interrupts another thread
                time.sleep(LOOK_EVERY_S)
            raise EvoError(f"vLLM ended: {last_words(server.log)}; its log is '{server.log}'")
    except KeyboardInterrupt:
        say(None, False, "stopped")


@teacher_app.command("ledger", epilog="Example: evo teacher ledger --json")
def teacher_ledger(as_json: Json = False) -> None:
    """Calls, tokens and cost by scope, stage and model, over all runs; calls that got no answer, and which of them may
    have been charged.
    """
    from evoembedding.warehouse.ledger import open_ledger

    with closing(open_ledger(state())) as ledger:
        rows, faults, charged = ledger.totals(), ledger.faults(), ledger.charged()
    if as_json:
        spent = {scope: one.model_dump() for scope, one in charged.items()}
        say_json({"calls": rows, "faults": faults, "charged_without_an_answer": spent})
        return
    if not rows:
        say_text("no teacher has answered a call yet")
    else:
        cells = [[f"{v:.4g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
        say_table(list(rows[0]), cells, "Answered calls", keys=3)
    if charged:
        cells = [[scope, one.calls, one.tokens, f"{one.cost:.4g}"] for scope, one in charged.items()]
        say_table(["scope", "calls", "tokens at most", "cost at most"], cells, "Charged without an answer", keys=1)
    if faults:
        say_text("faults: " + ", ".join(f"{kind} {count}" for kind, count in faults.items()))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What is wrong with a config, without its values, which may hold a secret."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        raise EvoError(first_fault(error)) from None
