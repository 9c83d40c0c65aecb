"""Servers of our own on loopback, for as long as a test needs them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import httpx


class Postgres:
    """A PostgreSQL with a role `evo` that may do everything; as a string, its URL without a database's name."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin, self._folder, self._port = bin_folder, Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run(str(bin_folder / "initdb"), "-D", str(self._folder / "data"), "-A", "trust", "-U", "evo")
        self._start()

    @staticmethod
    def installed() -> Path | None:
        """Where its programs are."""
        found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *filter(None, [shutil.which("initdb")])]
        return Path(found[-1]).resolve().parent if found else None

    def __str__(self) -> str:
        return f"postgresql://evo@127.0.0.1:{self._port}"

    def restart(self) -> None:
        """As after a crash: sessions are cut off, and their locks are gone."""
        self._control("-m", "immediate", "stop")
        self._start()

    def stop(self) -> None:
        """End it, and remove all that it holds."""
        self._control("-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def _start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self._folder}"
        self._control("-o", options, "start")

    def _control(self, *words: str) -> None:
        # To a file, not a pipe: the server would hold it open.
        log = ("-l", str(self._folder / "log"))
        self._run(str(self._bin / "pg_ctl"), "-D", str(self._folder / "data"), *log, "-w", *words)

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            words, cwd=self._folder, user=self._user, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def healthy(url: str) -> bool:
    """Whether an address answers with success."""
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False
