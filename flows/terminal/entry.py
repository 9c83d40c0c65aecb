"""Where `evo` begins and ends: signals, and what is said and returned when something went wrong.

Exit codes: 0 done, 1 failed or done in part, 2 usage, 3 judged and refused, 130 interrupted, 143 by SIGTERM.
"""

from __future__ import annotations

import io
import sys
from typing import Any, NoReturn

from flows.terminal import interrupt


def main() -> NoReturn:
    """Run the command line; a mistake ends in one sentence and one of the codes above."""
    interrupt.install()
    try:
        code = _run()
    except SystemExit:
        raise
    except BaseException as error:
        code = _failed(error)
    if interrupt.unexpected():
        interrupt.leave()  # whatever the interrupt has become on its way up
    sys.exit(code)


def _run() -> int:
    from flows.cli import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal shows every character
            stream.reconfigure(errors="backslashreplace")
    done = app(standalone_mode=False)
    return done if isinstance(done, int) else 0


def _failed(error: Any) -> int:
    """Say what went wrong; the exit code. What is no user's mistake is raised again.

    Raises:
        BaseException: a fault of our own.
    """
    from flows.console import fail, warn
    from schemas.errors import EvoError, InterruptionError
    from schemas.files import disk_fault

    if isinstance(error, InterruptionError):
        interrupt.leave(str(error))
    if interrupt.unexpected() or isinstance(error, KeyboardInterrupt):
        interrupt.leave()
    if hasattr(error, "show"):  # a command line that is none: Typer's own words, which repeat what was typed
        told = io.StringIO()
        error.show(told)
        warn(told.getvalue().rstrip())
        return int(error.exit_code)
    if isinstance(error, EvoError):
        fail(str(error))
    elif fault := disk_fault(error):
        fail(f"{fault} ({error}); what was committed is kept; mend that and rerun")
    else:
        raise error
    return 1
