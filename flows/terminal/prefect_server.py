"""Prefect's API for a command: the user's own, or a temporary server that ends with the command.

Prefect would start one itself, in our process group: Ctrl-C would end it first, and whatever then tells it anything
would wait for minutes; and a killed command would leave it behind.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partialmethod
from pathlib import Path
from urllib.parse import urlsplit

from evoembedding.flows.settings import LOOPBACK, written
from evoembedding.schemas.endings import at_the_end
from evoembedding.schemas.errors import EvoError

LOG = Path("logs") / "prefect.log"
PROGRAM = Path(__file__).with_name("prefect_process.py")
# It takes 5 s on an idle machine, 20 s on two busy cores, and up to 90 s when the disk is cold.
START_S = 180.0
ANSWER_S = 10.0
LOOK_EVERY_S = 0.1
SERVER = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

_lasting = ExitStack()  # as long as we
_started: list[subprocess.Popen[bytes]] = []


def ready(home: Path) -> None:
    """Prefect's API answers: the one of PREFECT_API_URL, or a server that is started now for as long as we run.

    Raises:
        EvoError: it does not answer, or does not start; or the state folder cannot be written, which every flow does.
    """
    written(home)
    if _started and _started[0].poll() is None:
        return
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL

    if url := PREFECT_API_URL.value():
        if here := urlsplit(url).hostname in LOOPBACK:
            _past_proxies()
        _must_answer(url, by_proxy=not here)
        return
    os.environ["PREFECT_API_URL"] = _start(home)
    # Prefect has read its settings by now, without this variable.
    refresh_global_settings_context()
    _past_proxies()


def answers(follows: str) -> bool:
    """Whether a server of the user's own is configured, and answers. None is started.

    Raises:
        EvoError: it is, and does not answer; the sentence says what `follows`.
    """
    if _started:
        return False
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        return False
    if here := urlsplit(url).hostname in LOOPBACK:
        _past_proxies()
    _must_answer(url, by_proxy=not here, follows=follows)
    return True


def _must_answer(url: str, by_proxy: bool, follows: str = "nothing was run") -> None:
    import httpx

    try:
        # Whatever it says: Prefect has better words for it.
        httpx.get(f"{url.rstrip('/')}/health", timeout=ANSWER_S, trust_env=by_proxy)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        raise EvoError(
            f"Prefect's server at '{url}' (PREFECT_API_URL) does not answer ({error}); {follows}; start it, or "
            "unset PREFECT_API_URL to have a temporary one"
        ) from error


def _past_proxies() -> None:
    """Prefect's clients set up every proxy of the environment, also on the way to loopback, where none is used: one
    that httpx does not know, or lacks a package for, would end the run.
    """
    from prefect.client import base

    for client in (base.PrefectHttpxAsyncClient, base.PrefectHttpxSyncClient):
        client.__init__ = partialmethod(client.__init__, trust_env=False)  # type: ignore[method-assign,assignment]


def _start(home: Path) -> str:
    """Start a server on a free port of loopback and wait for it; its URL."""
    import httpx

    log = home / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket() as listening, log.open("wb") as handle:
        # Bound here and handed on: between looking for a free port and taking it, nobody can come first.
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        process = subprocess.Popen(
            # -P: the program's folder holds files such as tables.py, which imports of others must not find.
            [sys.executable, "-P", str(PROGRAM), str(listening.fileno())],
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env={**{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}, **SERVER},
            pass_fds=[listening.fileno()],
            start_new_session=True,  # the terminal's Ctrl-C is for us
        )
    _started[:] = [process]
    _lasting.enter_context(at_the_end(process.kill))
    url, began = f"http://127.0.0.1:{port}/api", time.monotonic()
    with httpx.Client(timeout=ANSWER_S, trust_env=False) as client:  # a proxy has no business on loopback
        while process.poll() is None and time.monotonic() - began < START_S:
            try:
                if client.get(f"{url}/health").is_success:
                    return url
            except httpx.HTTPError:
                time.sleep(LOOK_EVERY_S)
    ending = "ended" if process.poll() is not None else f"did not answer within {START_S:.0f} s"
    process.kill()
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raise EvoError(
        f"Prefect's temporary server {ending} ({lines[-1][:300] if lines else 'it said nothing'}); nothing was run; "
        f"its log is '{log}'; rerun, or set PREFECT_API_URL to a server of your own"
    )
