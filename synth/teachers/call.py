"""One bounded call: whatever a server sends, it ends in time and takes little memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from evoembedding.synth.teachers.faults import FaultError, unreadable

if TYPE_CHECKING:  # half a second, which commands that ask nobody do without: they know teachers by their fingerprints
    import openai

# An answer of 64 turns at their longest is 0.4 MB; what reasoning models say beside it came to 20. An answer takes some
# five times its size in memory while it is read.
MOST_BYTES = 32 * 2**20  # on the wire, and unpacked
MOST_ERROR_BYTES = 64 * 2**10  # of a refusal; the rest is left unread
LARGE = 2**20  # longer answers are read one at a time
PIECE = 64 * 2**10
CONNECT_S = 30.0
_OF_THE_WIRE = (b"content-encoding", b"content-length", b"transfer-encoding")  # true of what was sent, not of `content`
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class Reply(NamedTuple):
    """What a server sent: `body` is unpacked."""

    status: int
    headers: httpx2.Headers
    body: bytes


class Bounded(httpx2.AsyncBaseTransport):
    """Reads answers within bounds and unpacks them itself: the libraries above would unpack whatever comes.

    Headers are bounded by httpcore (100 KiB).
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self._large = asyncio.Semaphore(1)

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer as a whole, unpacked.

        Raises:
            FaultError: it is not of a size to be read.
        """
        response = await self._inner.handle_async_request(request)
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _OF_THE_WIRE]
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)

    async def _read(self, response: httpx2.Response) -> bytes:
        most = MOST_BYTES if response.is_success else MOST_ERROR_BYTES
        unpack = _unpacker(response.headers.get("content-encoding", ""))
        parts: list[bytes] = []
        wire, held, waited = 0, 0, False
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        async with AsyncExitStack() as alone:
            async for chunk in response.stream:
                wire += len(chunk)
                for piece in unpack(chunk):
                    parts.append(piece)
                    held += len(piece)
                    if held > most:
                        break
                if max(wire, held) > most:
                    # What a server says of an error is told from its beginning; half an answer is none.
                    if response.is_success:
                        raise unreadable("answer too large")
                    break
                if held > LARGE and not waited:
                    waited = True
                    await alone.enter_async_context(self._large)
            return b"".join(parts)


class Endpoint:
    """The way to one base URL, by a client over a `Bounded` transport. No redirect is followed."""

    def __init__(self, url: str, client: openai.AsyncOpenAI, timeout_s: float, keyless: bool = False) -> None:
        """`timeout_s` bounds a call as a whole, from connecting to the last byte; `keyless`: no key is sent."""
        import openai

        self.url, self._client, self._timeout_s = url.rstrip("/"), client, timeout_s
        self._options: Any = {"headers": {"Authorization": openai.Omit()} if keyless else {}}

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.close()

    async def call(self, path: str, body: bytes | None = None) -> Reply:
        """What came back for a body, or for nothing where there is none.

        Raises:
            FaultError: nothing did, in whole, in time, or of a size to be read.
        """
        import openai

        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._sent(path, body)
        except openai.APIStatusError as error:
            response = error.response
        except TimeoutError:
            raise FaultError("failed", "timeout", "all") from None
        except openai.APIConnectionError as error:
            raise _fault(error.__cause__ or error) from None
        return Reply(response.status_code, response.headers, response.content)

    async def _sent(self, path: str, body: bytes | None) -> httpx2.Response:
        # Bytes, as the library would walk over every value of a body: a fifth of a call's CPU.
        if body is None:
            return await self._client.get(path, cast_to=httpx2.Response, options=self._options)
        return await self._client.post(path, cast_to=httpx2.Response, content=body, options=self._options)


def _fault(error: BaseException) -> FaultError:
    """What stopped a call on its way."""
    if isinstance(error, FaultError):
        return error
    if isinstance(error, _UNSENT):
        return FaultError("unreachable", "connection", "nothing", detail=type(error).__name__)
    if isinstance(error, httpx2.TransportError):
        return FaultError("unreachable", "connection cut", "all", detail=type(error).__name__)
    return FaultError("failed", type(error).__name__, "all", useless=True)


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
