"""The command `evo ingest`."""

from __future__ import annotations

from typing import Annotated

import typer

from evoembedding.flows.settings import state
from evoembedding.flows.terminal import prefect_server
from evoembedding.flows.terminal.console import Json, say
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shown


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

    prefect_server.ready(state())
    done = flow(source, license, sync, name, home=state())
    say(
        done,
        as_json,
        f"{done['read']} documents read from {shown(source, 200)}: {done['new']} new, {done['changed']} changed, "
        f"{done['gone']} gone, {done['unchanged']} unchanged, {done['rejected']} rejected"
        + (f"; {done['namesakes']} named like one of another source, and both are used" if done["namesakes"] else "")
        + (f"; withdrawn, and still not used: {', '.join(done['withdrawn'])}" if done["withdrawn"] else "")
        + (f"; of kinds that are not read: {done['unread_kinds']}" if done["unread"] else ""),
    )
    if done["rejected"]:
        kept = "the rest is stored" if done["read"] else f"'{shown(source, 200)}' gave no document"
        first = done["failures"][0]
        raise EvoError(
            f"{done['rejected']} rejected (first {shown(first['item'], 200)}: {first['reason']}) and kept in "
            f"'failures'; {kept}; mend them and rerun"
        )
