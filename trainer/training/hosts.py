"""Machines of a training job: DeepSpeed's hostfile, and the ssh command that starts a rank on one of them.

# comment
worker-1 slots=8
worker-2 slots=8
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import evoembedding
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.home import home

# No option, no user, no shell: a name or an address, which ssh's own config may say more about.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
SLOTS = re.compile(r"slots=([0-9]{1,4})")
CODE = Path(evoembedding.__file__).resolve().parents[1]
# What a rank on another machine keeps of the launcher's environment. All users there see it, so it holds no secret.
PASSED = re.compile(r"(GLOO|NCCL)_[A-Z0-9_]+|HF_HOME|HF_HUB_OFFLINE|OMP_NUM_THREADS")
LOST = 255  # ssh's own exit code: the connection broke, or the remote process was killed


class Host(NamedTuple):
    """A machine, and how many ranks it runs."""

    name: str
    slots: int


def read_hostfile(path: Path) -> list[Host]:
    """The machines of a hostfile, in its order; the first runs the first rank.

    Raises:
        EvoError: the file cannot be read, names no machine, or a line is not `NAME slots=N`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise EvoError(f"hostfile '{path}' cannot be read: {why}; nothing was trained; give another") from error
    hosts: list[Host] = []
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        where = f"hostfile '{path}', line {number}"
        slots = SLOTS.fullmatch(words[1]) if len(words) == 2 else None
        if slots is None:
            raise EvoError(f"{where}: '{line.strip()[:80]}' is not 'NAME slots=N'; nothing was trained; mend the line")
        if not NAME.fullmatch(words[0]):
            raise EvoError(
                f"{where}: '{words[0][:80]}' is no host name, and ssh would be given it; nothing was trained; "
                "use letters, digits, '.', '-' and '_', and ssh's config for the rest"
            )
        if not int(slots[1]):
            raise EvoError(f"{where}: '{words[0]}' has 0 slots, so no rank would run there; remove the line")
        if words[0] in (host.name for host in hosts):
            raise EvoError(f"{where}: '{words[0]}' is there twice; nothing was trained; add up its slots in one line")
        hosts.append(Host(words[0], int(slots[1])))
    if not hosts:
        raise EvoError(f"hostfile '{path}' names no machine; nothing was trained; add lines 'NAME slots=N'")
    return hosts


def ssh_command(host: str, command: list[str], environment: Mapping[str, str], config: Path | None) -> list[str]:
    """What runs a command on a machine, in the same folder and with `environment`; it ends with our standard input.

    Args:
        config: ssh's configuration file, in place of the user's.
    """
    kept = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
    path = os.pathsep.join(filter(None, (str(CODE), os.environ.get("PYTHONPATH"))))
    # ssh starts ranks without our environment.
    ours = {"PYTHONPATH": path, "EVO_HOME": str(home())}
    settings = [f"{name}={value}" for name, value in {**kept, **ours, **environment}.items()]
    remote = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(['env', *settings, *command])}"
    # Nobody is there to answer ssh's questions; a machine that went away is noticed after 4 times 15 s.
    ssh = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    return [*ssh, *(["-F", str(config)] if config else []), "--", host, remote]
