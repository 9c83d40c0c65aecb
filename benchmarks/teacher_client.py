"""The teacher client beside a bare asyncio loop over the same `openai` client.

    python benchmarks/teacher_client.py [--calls 3000] [--in-flight 256]
    python benchmarks/teacher_client.py --vllm [--calls 96] [--in-flight 16]

At a local server with no latency, a process of its own: requests a second and this process's CPU a request. With
`--vllm` at the real vLLM and SmolLM2 of `make teacher`: completion tokens a second.
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
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

sys.path.pop(0)  # this folder: its files have names of our packages

from openai import AsyncOpenAI
from pydantic import BaseModel, ValidationError

from evoembedding.flows.teaching.serve_teacher import served, served_name
from evoembedding.schemas.teacher import Message, Sampling, ServeConfig, TeacherConfig
from evoembedding.synth.teachers.teacher import Teacher
from evoembedding.warehouse.ledger import SqliteLedger

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


async def bare(url: str, prompts: list[str], in_flight: int, model: str = "m") -> int:
    """Completion tokens of all calls: what one would write by hand: a semaphore, the call, the answer parsed."""
    places = asyncio.Semaphore(in_flight)
    schema = {"name": "answer", "schema": Reply.model_json_schema(), "strict": True}
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def one(prompt: str) -> int:
            async with places:
                response = await client.chat.completions.create(
                    model=model,
                    messages=[{"role": "user", "content": prompt}],
                    temperature=0,
                    max_tokens=64,
                    response_format={"type": "json_schema", "json_schema": schema},  # type: ignore[typeddict-item]
                )
            with suppress(ValidationError):  # cut off at the token limit: the other side counts these as well
                Reply.model_validate_json(response.choices[0].message.content or "")
            return response.usage.completion_tokens if response.usage else 0

        return sum(await asyncio.gather(*map(one, prompts)))


async def ours(url: str, prompts: list[str], in_flight: int, model: str = "m") -> int:
    """The same through `Teacher` with a ledger on disk."""
    config = TeacherConfig(
        model=model,
        endpoints=(url,),
        sampling=Sampling(temperature=0, max_tokens=64),
        max_in_flight=in_flight,
        repairs=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger.open(Path(folder))
        async with Teacher(config, ledger, "benchmark") as teacher:
            await asyncio.gather(
                *(
                    teacher.ask([Message(role="user", content=p)], Reply, "benchmark", str(i))
                    for i, p in enumerate(prompts)
                ),
                return_exceptions=True,
            )
        assert ledger.spent("benchmark").calls == len(prompts)
        tokens = sum(row["completion_tokens"] for row in ledger.totals())
        ledger.close()
        return tokens


def timed(work: Callable[[], Awaitable[int]], calls: int) -> tuple[float, float]:
    """(calls a second, CPU milliseconds a call)."""
    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(work())  # type: ignore[arg-type]
    return calls / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / calls


def at_vllm(calls: int, in_flight: int) -> None:
    """Both at the real vLLM in turn: completion tokens a second. The same prompts, and no cache that remembers them."""
    config = ServeConfig(max_model_len=4096, extra_args=("--no-enable-prefix-caching",))
    rates: dict[str, list[float]] = {"bare loop": [], "Teacher": []}
    with tempfile.TemporaryDirectory() as folder, served(config, Path(folder)) as url:
        for turn in range(ROUNDS + 1):  # the first, which compiles the answer's grammar, does not count
            prompts = [f"{turn} {i}: ask a question about {i} lanterns, with its answer." for i in range(calls)]
            for name, work in (("bare loop", bare), ("Teacher", ours)):
                began = time.perf_counter()
                tokens = asyncio.run(work(url, prompts, in_flight, served_name(config)))
                if turn:
                    rates[name].append(tokens / (time.perf_counter() - began))
    print(f"{calls} calls of up to 64 tokens at vLLM with SmolLM2-135M, {in_flight} in flight, medians of {ROUNDS}")
    for name, rate in rates.items():
        print(f"{name:10} {median(rate):8.1f} completion tokens/s   ({', '.join(f'{r:.1f}' for r in rate)})")
    print(f"ratio      {median(rates['Teacher']) / median(rates['bare loop']):8.2f} x tokens/s")


def main() -> None:
    """Run both in turn, several rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int)
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--vllm", action="store_true", help="at the real vLLM of `make teacher`")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if arguments.vllm:
        at_vllm(arguments.calls or 96, arguments.in_flight or 16)
        return
    calls, in_flight = arguments.calls or 3000, arguments.in_flight or 256
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait(url)
        prompts = [PROMPT.format(i) for i in range(calls)]
        rows: dict[str, list[tuple[float, float]]] = {"bare loop": [], "Teacher": []}
        for _ in range(ROUNDS):
            rows["bare loop"].append(timed(lambda: bare(url, prompts, in_flight), calls))
            rows["Teacher"].append(timed(lambda: ours(url, prompts, in_flight), calls))
    finally:
        server.terminate()
    print(f"{calls} calls of {len(PROMPT)} characters, {in_flight} in flight, medians of {ROUNDS}")
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
