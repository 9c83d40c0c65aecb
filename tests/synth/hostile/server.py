"""Teachers that do harm, as a process: `python -m tests.synth.hostile.server` prints its two ports and serves.

What a request is answered with stands in its first message: `good 7`, or `KIND 7`. The second port is another host: it
counts what reaches it. `GET /asked` tells both counts. Written on sockets, since no server would send most of this.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import quote

USAGE = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}
ESCAPES = "\x1b[31mred\x1b[0m \u202egnp.exe [bold]"
MB = 2**20
asked: Counter[str] = Counter()
other: Counter[str] = Counter()
elsewhere = 0


def right(number: int) -> str:
    return json.dumps({"number": number, "word": f"w{number}"})


def completion(content: Any, usage: Any = USAGE, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def written(number: int, usage: Any = USAGE) -> bytes:
    return json.dumps(completion(right(number), usage)).encode()


def reply(body: Any, status: int = 200, **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    named = {"content-type": "application/json", "content-length": str(len(raw))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + raw


def changed(good: str, **fields: Any) -> dict[str, Any]:
    """A completion with other values in it: of the body, or of its choice and message by `choice_` and `message_`."""
    body = completion(good)
    for name, value in fields.items():
        place, _, field = name.partition("_")
        holder = {"body": body, "choice": body["choices"][0], "message": body["choices"][0]["message"]}[place]
        holder[field] = value
    return body


@cache
def packed(encoding: str) -> bytes:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    return reply(pack(b'{"a": "' + b" " * (256 * MB)), content_encoding=encoding)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n"
Made = Callable[[int, str], Any]  # of the number and the key that came

ANSWERS: dict[str, Made] = {
    "gzip_bomb": lambda n, key: packed("gzip"),
    "deflate_bomb": lambda n, key: packed("deflate"),
    "packed_unknown": lambda n, key: reply(b"\x28\xb5\x2f\xfd" + bytes(99), content_encoding="zstd"),
    "packed_wrongly": lambda n, key: reply(b"no gzip", content_encoding="gzip"),
    "gzip_good": lambda n, key: reply(
        gzip.compress(json.dumps(completion(right(n))).encode()), content_encoding="gzip"
    ),
    "wide": lambda n, key: reply(b"[" + b"[]," * (10 * MB) + b"[]]"),
    "reasoning_20_mb": lambda n, key: reply(completion(right(n), reasoning_content="x" * 20 * MB)),
    "content_5_mb": lambda n, key: reply(completion("x" * 5 * MB)),
    "error_30_mb": lambda n, key: reply(b"x" * 30 * MB, 400),
    "header_5_mb": lambda n, key: reply(completion(right(n)), x_long="x" * 5 * MB),
    "deep": lambda n, key: reply(b"[" * 500_000),
    "deep_in_answer": lambda n, key: reply(completion('{"number":' + '{"a":' * 100_000)),
    "tokens_2_70": lambda n, key: reply(completion(right(n), {"prompt_tokens": 2**70, "completion_tokens": 2**70})),
    "tokens_10000_digits": lambda n, key: reply(
        json.dumps(completion(right(n), 7)).replace("7", "9" * 10_000).encode()
    ),
    "tokens_negative": lambda n, key: reply(completion(right(n), {"prompt_tokens": -5, "completion_tokens": -1})),
    "tokens_words": lambda n, key: reply(completion(right(n), {"prompt_tokens": "many", "completion_tokens": "3"})),
    "tokens_null": lambda n, key: reply(completion(right(n), {"prompt_tokens": None, "completion_tokens": None})),
    "tokens_missing": lambda n, key: reply(completion(right(n), None)),
    "tokens_list": lambda n, key: reply(completion(right(n), [1, 2])),
    "tokens_infinite": lambda n, key: reply(json.dumps(completion(right(n), {"prompt_tokens": float("inf")})).encode()),
    "number_2_70": lambda n, key: reply(completion('{"number": 1180591620717411303424, "word": "w"}')),
    "number_5000_digits": lambda n, key: reply(completion('{"number": ' + "9" * 5000 + ', "word": "w"}')),
    "number_nan": lambda n, key: reply(completion('{"number": NaN, "word": "w"}')),
    **{
        f"redirect_{code}": lambda n, key, code=code: reply(b"", code, location=f"http://127.0.0.1:{elsewhere}/v1/x")
        for code in (301, 302, 303, 307, 308)
    },
    "redirect_strange": lambda n, key: reply(b"", 307, location="http://[::1/?key=x"),
    "echo": lambda n, key: reply(completion(json.dumps({"number": n, "word": key}))),
    "echo_base64": lambda n, key: reply(completion(json.dumps({"number": n, "word": encoded(key)}))),
    "echo_hex": lambda n, key: reply(completion(json.dumps({"number": n, "word": key.encode().hex()}))),
    "echo_url": lambda n, key: reply(completion(json.dumps({"number": n, "word": quote(key, safe="")}))),
    "echo_escaped": lambda n, key: reply(completion(f'{{"number": {n}, "word": "{escaped(key)}"}}')),
    "echo_malformed": lambda n, key: reply(completion(f"no JSON, but {key} and {encoded(key)}")),
    "echo_finish": lambda n, key: reply(completion(right(n), finish=key)),
    "echo_refusal": lambda n, key: reply({"error": {"message": f"bad {key} {encoded(key)}"}}, 418),
    "echo_500": lambda n, key: reply({"error": {"message": f"failed for {key}, {key.encode().hex()}"}}, 500),
    "escapes_in_refusal": lambda n, key: reply({"error": {"message": ESCAPES}}, 418),
    "escapes_in_500": lambda n, key: reply({"error": {"message": ESCAPES}}, 500),
    "nul": lambda n, key: reply(completion(json.dumps({"number": n, "word": "a\0b"}))),
    "half_pair": lambda n, key: reply(written(n).replace(b"w%d" % n, b"\\ud83d")),
    "half_pair_in_answer": lambda n, key: reply(completion(json.dumps({"number": n, "word": "\ud83d"}))),
    "latin_1": lambda n, key: reply(
        json.dumps(completion(right(n).replace(f"w{n}", "é")), ensure_ascii=False).encode("latin-1")
    ),
    "bom": lambda n, key: reply(b"\xef\xbb\xbf" + json.dumps(completion("\ufeff" + right(n))).encode()),
    "fence": lambda n, key: reply(completion(f"Sure:\n```json\n{right(n)}\n```\nDone.")),
    "thoughts": lambda n, key: reply(completion(f'<think>maybe {{"number": 9}}</think>{right(n)}')),
    "two_answers": lambda n, key: reply(completion(right(n) + right(n + 1))),
    "half_an_answer": lambda n, key: reply(completion(right(n)[:-4], finish="length")),
    "choices_null": lambda n, key: reply(changed("", body_choices=None)),
    "choices_word": lambda n, key: reply(changed("", body_choices="none")),
    "choices_numbers": lambda n, key: reply(changed("", body_choices=[1])),
    "choices_empty": lambda n, key: reply(changed("", body_choices=[])),
    "message_null": lambda n, key: reply(changed("", choice_message=None)),
    "message_list": lambda n, key: reply(changed("", choice_message=["a"])),
    "content_null": lambda n, key: reply(changed("", message_content=None)),
    "content_number": lambda n, key: reply(changed("", message_content=7)),
    "content_object": lambda n, key: reply(changed("", message_content=json.loads(right(n)))),
    "content_parts": lambda n, key: reply(changed("", message_content=[{"type": "text", "text": right(n)}, 7, None])),
    "tool_calls_word": lambda n, key: reply(changed("", message_content=None, message_tool_calls="x")),
    "tool_call": lambda n, key: reply(
        changed("", message_content=None, message_tool_calls=[{"function": {"arguments": right(n)}}])
    ),
    "reasoning_number": lambda n, key: reply(changed(right(n), message_reasoning_content=7)),
    "finish_object": lambda n, key: reply(changed(right(n), choice_finish_reason={"a": 1})),
    "finish_long": lambda n, key: reply(changed(right(n), choice_finish_reason="x" * 10_000)),
    "model_and_id_wrong": lambda n, key: reply(changed(right(n), body_model=None, body_id=[], body_created="now")),
    "body_list": lambda n, key: reply([1]),
    "body_null": lambda n, key: reply(b"null"),
    "body_word": lambda n, key: reply(b'"ok"'),
    "body_empty": lambda n, key: reply(b""),
    "body_html": lambda n, key: reply(b"<html>Sign in</html>", content_type="text/html"),
    "error_in_success": lambda n, key: reply({"error": {"message": "upstream", "code": 502}}),
    "streamed": lambda n, key: reply(b'data: {"choices": []}\n\ndata: [DONE]\n\n', content_type="text/event-stream"),
    "status_999": lambda n, key: reply(b"x", 999),
    "gateway": lambda n, key: reply(b"<html>bad gateway</html>", 502),
    "too_long": lambda n, key: reply({"error": {"message": "maximum context length is 10 tokens"}}, 400),
    # Cut off at every stage.
    "cut_before_status": lambda n, key: b"",
    "cut_in_status": lambda n, key: b"HTTP/1.1 20",
    "cut_in_headers": lambda n, key: b"HTTP/1.1 200 OK\r\ncontent-le",
    "cut_before_body": lambda n, key: WHOLE,
    "cut_in_body": lambda n, key: WHOLE + b'{"id": ',
    "cut_in_chunk": lambda n, key: CHUNKED + b"64\r\n" + b'{"id": ',
    "cut_between_chunks": lambda n, key: CHUNKED + chunk(json.dumps(completion(right(n))).encode()),
    "chunks_wrong": lambda n, key: CHUNKED + b"zz\r\nno chunk",
    "no_http": lambda n, key: b"\x16\x03\x01 SSH-2.0 hello\r\n\r\n",
    "more_than_length": lambda n, key: reply(completion(right(n))) + b"HTTP/1.1 200 OK\r\n\r\nmore" * 9,
}


def encoded(key: str) -> str:
    return base64.b64encode(b"x" + f"Bearer {key}".encode() + b"yz").decode()


def escaped(key: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in key)


async def flood(writer: asyncio.StreamWriter, head: bytes, piece: bytes, pause: float = 0.0) -> None:
    """Without end, until the other side has had enough."""
    writer.write(head)
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


FLOODS: dict[str, tuple[bytes, bytes, float]] = {
    "endless": (CHUNKED + chunk(b'{"a": "'), chunk(b"x" * MB), 0.0),
    "length_10_gb": (WHOLE.replace(b"900", b"10000000000"), b"x" * MB, 0.0),
    "drip": (WHOLE.replace(b"900", b"900000"), b" ", 0.05),
    "drip_in_headers": (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n", 0.05),
    "headers_endless": (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 10_000, 0.0),
    "continue_endless": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "silence": (b"", b"", 0.05),
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if lines[0].startswith("GET"):
                told = {"object": "list", "data": [{"id": "m"}]} if "/models" in lines[0] else [asked, other]
                writer.write(reply(told))
                continue
            first = next(m["content"] for m in json.loads(body)["messages"] if m["role"] == "user")
            kind, number = first.split()
            asked[kind] += 1
            if kind == "good":
                writer.write(reply(completion(right(int(number)))))
            elif kind in FLOODS:
                await flood(writer, *FLOODS[kind])
                return
            elif kind == "reset":
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            else:
                writer.write(ANSWERS[kind](int(number), headers.get("authorization", "").removeprefix("Bearer ")))
                await writer.drain()
                if kind.startswith(("cut", "chunks", "no_http")):
                    return
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    other["reached"] += 1
    writer.close()


async def main() -> None:
    global elsewhere
    second = await asyncio.start_server(count, "127.0.0.1", 0)
    elsewhere = second.sockets[0].getsockname()[1]
    first = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(first.sockets[0].getsockname()[1], elsewhere, flush=True)
    await first.serve_forever()


KINDS = [*ANSWERS, *FLOODS, "reset"]
if __name__ == "__main__":
    asyncio.run(main())
