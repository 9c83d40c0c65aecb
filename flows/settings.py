"""Where state lives, and how Prefect runs under it. Imported before Prefect, which reads its settings once."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import evoembedding
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.home import home

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # A temporary server takes 20 s to start on two cores, and up to 90 s when the disk is cold.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
if not Path("/dev/nvidiactl").exists():
    QUIET["DS_ACCELERATOR"] = "cpu"  # without it every import warns that there is no GPU


def state() -> Path:
    """The state folder, made if need be. One that cannot be written can still be read.

    Raises:
        EvoError: it cannot be made.
    """
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvoError(
            f"state folder '{folder}': {error.strerror}; nothing was run; set EVO_HOME to another"
        ) from error
    return folder


def written(folder: Path) -> Path:
    """The state folder of a command that writes to it.

    Raises:
        EvoError: it cannot be written.
    """
    if not os.access(folder, os.W_OK):
        raise EvoError(f"state folder '{folder}' cannot be written; nothing was run; set EVO_HOME to another")
    return folder


def prepare() -> None:
    """Point Prefect at the state folder unless the user has settings of their own."""
    # Prefect makes its folder in the state folder, but no parents. Where it runs us, it has its folder: a worker in
    # whose environment the state folder is named wrongly is to be told so, and not to get an empty one.
    if "prefect" not in sys.modules:
        with suppress(OSError):  # `state` says what is wrong
            home().mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home() / "prefect"))
    _have_a_home()
    _keep_loopback_from_proxies()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def _have_a_home() -> None:
    """In cron, systemd and containers there may be no home folder, and libraries keep what they compile and load there:
    the state folder then has one.
    """
    with suppress(RuntimeError):  # a user whom the system does not know
        if os.access(os.environ.setdefault("HOME", str(Path.home())), os.W_OK):
            return
    place = home() / "user"
    os.environ["HOME"] = str(place)
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)


def _keep_loopback_from_proxies() -> None:
    """Our own servers are on loopback, where no proxy can reach them."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [name for name in known.split(",") if name.strip()]
    if "*" not in names:
        names += [name for name in LOOPBACK if name not in names]
    # Both spellings, since libraries differ in which one they read.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(names)


def package_version() -> str:
    """The version of the installed package; `unknown` of a code that is not installed."""
    try:
        return version("evoembedding")
    except PackageNotFoundError:
        return "unknown"


def git_commit() -> str:
    """The commit of this code, with `+dirty` when files differ from it; of an installed package the one that it was
    built from. `unknown` where neither is known.
    """
    package = Path(evoembedding.__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(package), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    if (built := package / "commit.txt").exists():
        return built.read_text().strip()
    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # it may be installed in a repository of somebody else
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def user() -> str:
    """Who is at work, for the record: the login name, or the user's number where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


prepare()
