"""The teacher client beside a bare asyncio loop over the same `openai` client, at a local server with no latency.

    python benchmarks/teacher_client.py [--calls 3000] [--in-flight 256]

Prints requests a second and this process's CPU a request, and the ratios. The server is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from openai import AsyncOpenAI
from pydantic import BaseModel

from schemas.teacher import Message, Sampling, TeacherConfig
from synth.teacher import Teacher
from warehouse.ledger import SqliteLedger

PROMPT = "word " * 900 + "{}"  # about the paper's mean context, 1.3K tokens
ROUNDS = 3


class Reply(BaseModel):
    """What the server answers."""

    question: str
    answer: str


CONTENT = Reply(question="Where does Mira live now?", answer="Porto").model_dump_json()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers every call at once with the same completion."""
    while (await receive()).get("more_body"):
        pass
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": CONTENT}}
    usage = {"prompt_tokens": 1300, "completion_tokens": 20, "total_tokens": 1320}
    reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    body = json.dumps(reply).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(port: int) -> None:
    """The server's process."""
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", lifespan="off", interface="asgi3")


async def bare(url: str, prompts: list[str], in_flight: int) -> None:
    """What one would write by hand: a semaphore, the call, the answer parsed."""
    places = asyncio.Semaphore(in_flight)
    schema = {"name": "answer", "schema": Reply.model_json_schema(), "strict": True}
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def one(prompt: str) -> Reply:
            async with places:
                response = await client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": prompt}],
                    temperature=0,
                    max_tokens=64,
                    response_format={"type": "json_schema", "json_schema": schema},  # type: ignore[typeddict-item]
                )
            return Reply.model_validate_json(response.choices[0].message.content or "")

        await asyncio.gather(*map(one, prompts))


async def ours(url: str, prompts: list[str], in_flight: int) -> None:
    """The same through `Teacher` with a ledger on disk."""
    config = TeacherConfig(
        model="m", endpoints=(url,), sampling=Sampling(temperature=0, max_tokens=64), max_in_flight=in_flight
    )
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger.open(Path(folder))
        async with Teacher(config, ledger, "benchmark") as teacher:
            await asyncio.gather(
                *(
                    teacher.ask([Message(role="user", content=p)], Reply, "benchmark", str(i))
                    for i, p in enumerate(prompts)
                )
            )
        assert ledger.spent("benchmark").calls == len(prompts)
        ledger.close()


def timed(work: Callable[[], Awaitable[None]], calls: int) -> tuple[float, float]:
    """(calls a second, CPU milliseconds a call)."""
    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(work())  # type: ignore[arg-type]
    return calls / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / calls


def main() -> None:
    """Run both in turn, several rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait(url)
        prompts = [PROMPT.format(i) for i in range(arguments.calls)]
        rows: dict[str, list[tuple[float, float]]] = {"bare loop": [], "Teacher": []}
        for _ in range(ROUNDS):
            rows["bare loop"].append(timed(lambda: bare(url, prompts, arguments.in_flight), arguments.calls))
            rows["Teacher"].append(timed(lambda: ours(url, prompts, arguments.in_flight), arguments.calls))
    finally:
        server.terminate()
    print(f"{arguments.calls} calls of {len(PROMPT)} characters, {arguments.in_flight} in flight, medians of {ROUNDS}")
    figures = {name: (median(r for r, _ in got), median(c for _, c in got)) for name, got in rows.items()}
    for name, (rate, cpu) in figures.items():
        print(f"{name:10} {rate:8.0f} calls/s {cpu:7.2f} ms CPU a call")
    (bare_rate, bare_cpu), (our_rate, our_cpu) = figures["bare loop"], figures["Teacher"]
    print(f"overhead   {bare_rate / our_rate:8.2f} x time  {our_cpu / bare_cpu:7.2f} x CPU")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def wait(url: str) -> None:
    """Until the server answers."""
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5)  # noqa: S310  our own server on loopback
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(url)


if __name__ == "__main__":
    main()
