"""One bounded call: whatever a server sends, it ends in time and takes little memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import httpx

from synth.teachers.faults import FaultError, unreadable

# An answer of 64 turns at their longest is 0.4 MB; what reasoning models say beside it came to 20. An answer takes some
# five times its size in memory while it is read.
MOST_BYTES = 32 * 2**20  # on the wire, and unpacked
MOST_ERROR_BYTES = 64 * 2**10  # of a refusal; the rest is left unread
LARGE = 2**20  # longer answers are read one at a time
PIECE = 64 * 2**10
CONNECT_S = 30.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class Reply(NamedTuple):
    """What a server sent: `body` is unpacked."""

    status: int
    headers: httpx.Headers
    body: bytes


class Endpoint:
    """The way to one base URL. No redirect is followed; headers are bounded by httpcore (100 KiB)."""

    def __init__(self, url: str, client: httpx.AsyncClient, timeout_s: float) -> None:
        """`timeout_s` bounds a call as a whole, from connecting to the last byte."""
        self.url, self._client, self._timeout_s = url.rstrip("/"), client, timeout_s
        self._large = asyncio.Semaphore(1)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def call(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """One request and what came back.

        Raises:
            FaultError: nothing did, in whole, in time, or of a size to be read.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._client.stream(method, self.url + path, content=body) as response:
                    read = await self._read(response)
                return Reply(response.status_code, response.headers, read)
        except TimeoutError:
            raise FaultError("failed", "timeout", "all") from None
        except _UNSENT as error:
            raise FaultError("unreachable", "connection", "nothing", told=type(error).__name__) from None
        except httpx.TransportError as error:
            raise FaultError("unreachable", "connection cut", "all", told=type(error).__name__) from None

    async def _read(self, response: httpx.Response) -> bytes:
        most = MOST_BYTES if response.is_success else MOST_ERROR_BYTES
        unpack = _unpacker(response.headers.get("content-encoding", ""))
        parts: list[bytes] = []
        wire, held, waited = 0, 0, False
        async with AsyncExitStack() as alone:
            async for chunk in response.aiter_raw():
                wire += len(chunk)
                for piece in unpack(chunk):
                    parts.append(piece)
                    held += len(piece)
                    if held > most:
                        break
                if max(wire, held) > most:
                    if response.is_success:
                        raise unreadable("answer too large")
                    break
                if held > LARGE and not waited:
                    waited = True
                    await alone.enter_async_context(self._large)
            return b"".join(parts)


def _unpacker(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """Unpacks in small pieces, so that a few bytes that stand for gigabytes are seen in time. None was asked for.

    Raises:
        FaultError: it is packed in a way that is not known here.
    """
    if encoding.strip().lower() in ("", "identity"):
        return lambda chunk: iter((chunk,))
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise unreadable("answer in an encoding that was not asked for")
    packed = zlib.decompressobj(wbits=47)  # gzip and zlib, told apart by their headers

    def unpack(chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk and not packed.eof:
                yield packed.decompress(chunk, PIECE)
                chunk = packed.unconsumed_tail
        except zlib.error:
            raise unreadable("answer packed wrongly") from None

    return unpack
