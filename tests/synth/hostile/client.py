"""Asks teachers that do harm, in a process held to 1 GB of address space; a line of JSON a kind.

`python -m tests.synth.hostile.client PORT FOLDER KIND...`
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from pydantic import BaseModel

from evoembedding.schemas.budget import Budget
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import Message, Sampling, TeacherConfig
from evoembedding.synth.teachers.faults import NotAnsweredError
from evoembedding.synth.teachers.teacher import Teacher
from evoembedding.warehouse.ledger import SqliteLedger

GOOD, BAD = 4, 2
TIMED = ("drip", "drip_in_headers", "continue_endless", "silence")


class Answer(BaseModel):
    number: int
    word: str


async def ask(port: int, folder: Path, kind: str) -> dict[str, object]:
    began = time.monotonic()
    ledger = SqliteLedger.open(folder / kind)
    config = TeacherConfig(
        model="m",
        endpoints=(f"http://127.0.0.1:{port}/v1",),
        sampling=Sampling(max_tokens=50),
        timeout_s=3.0 if kind in TIMED else 60.0,
        attempts=3,
        repairs=1,
        patience_s=60.0,
    )

    async def one(word: str, number: int) -> str:
        try:
            answered = await teacher.ask(
                [Message(role="user", content=f"{word} {number}")], Answer, "s", f"{word}{number}"
            )
            return answered.value.word
        except NotAnsweredError as error:
            return f"failed: {error}"
        except EvoError as error:
            return f"stopped: {error}"

    async with Teacher(config, ledger, kind, Budget(calls=1000, tokens=1_000_000)) as teacher:
        window = await teacher.check()
        # Answers come while the bad ones are asked for: those are then known to be the requests' own.
        bad = asyncio.gather(*(one(kind, n) for n in range(BAD)))
        good: list[str] = []
        while not (bad.done() and len(good) >= GOOD):
            good.append(await one("good", len(good)))
            await asyncio.sleep(0.05)
        spent = teacher.spent
    rows = ledger.totals()
    return {
        "kind": kind,
        "window": window,
        "good": [word == f"w{n}" for n, word in enumerate(good)],
        "bad": await bad,
        "same": ledger.spent(kind) == spent,
        "answered": sum(row["calls"] for row in rows),
        "tokens": spent.tokens,
        "faults": ledger.faults(),
        "seconds": round(time.monotonic() - began, 1),
        "megabytes": peak_megabytes(),
    }


def peak_megabytes() -> int:
    """Of this program alone: what `getrusage` tells is also of the process that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    port, folder, kinds = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]

    async def together(some: list[str]) -> list[dict[str, object]]:
        return await asyncio.gather(*(ask(port, folder, kind) for kind in some))

    # Those that take their time do it side by side.
    for some in [[kind] for kind in kinds if kind not in TIMED] + [[kind for kind in kinds if kind in TIMED]]:
        for told in asyncio.run(together(some)):
            print(json.dumps(told), flush=True)
