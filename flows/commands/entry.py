"""Where `evo` begins and ends: signals, and what is said and returned when something went wrong.

Exit codes: 0 done, 1 failed or done in part, 2 usage, 3 judged and refused, 130 interrupted, 143 by SIGTERM.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from errno import ENAMETOOLONG
from typing import Any, NoReturn

from evoembedding.flows.terminal import interrupt

UNSAID = 120  # Python's own code for output that could not be written
TRAINING = {"deepspeed", "peft", "safetensors", "tokenizers", "torch", "transformers"}  # of the extra `train`


def main() -> NoReturn:
    """Run the command line as a process of its own, and end it."""
    ends: list[int] = []
    # The first that is registered is the last that is called.
    atexit.register(lambda: _end(ends[0] if ends else 1))
    try:
        command()
    except SystemExit as ending:
        ends.append(ending.code if isinstance(ending.code, int) else int(ending.code is not None))
        raise


def command() -> NoReturn:
    """Run the command line; a mistake ends in one sentence and one of the codes above."""
    # Before the imports, which take long enough for a Ctrl-C.
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


def _end(code: int) -> None:
    """End the process, with all that others have registered done: while Python and its libraries take themselves apart,
    a Ctrl-C would end it without a word.
    """
    if interrupt.unexpected():
        interrupt.leave()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # what was said is lost, as on a full disk or to a reader who left
            code = code or UNSAID
    os._exit(code)


def _run() -> int:
    from evoembedding.flows.commands.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal shows every character
            stream.reconfigure(errors="backslashreplace")
    _check(sys.argv[1:])
    done = app(standalone_mode=False, prog_name="evo")
    return done if isinstance(done, int) else 0


def _check(words: list[str]) -> None:
    """Refuse what no command can mean: an empty word, which as a path would be the working folder, and names that no
    table keeps.

    Raises:
        typer.BadParameter: there is such a word.
    """
    from typer import BadParameter

    for number, word in enumerate(words, 1):
        if not word or (word.startswith("--") and word.endswith("=") and word.count("=") == 1):
            raise BadParameter(f"word {number} of the command line is empty; nothing was run; give it a value")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise BadParameter(
                f"{word!r} is not valid UTF-8, and no table keeps it; nothing was run; rename it"
            ) from None


def _failed(error: Any) -> int:
    """Say what went wrong; the exit code. What is no user's mistake is raised again.

    Raises:
        BaseException: a fault of our own.
    """
    from evoembedding.flows.terminal.console import REFUSED, fail, warn
    from evoembedding.schemas.errors import EvoError, InterruptionError, RefusedError
    from evoembedding.schemas.files import disk_fault

    if isinstance(error, InterruptionError):
        interrupt.leave(str(error))
    if interrupt.unexpected() or isinstance(error, KeyboardInterrupt):
        interrupt.leave()
    if hasattr(error, "show"):  # a command line that is none: Typer's own words, which repeat what was typed
        usage = io.StringIO()
        error.show(usage)
        warn(usage.getvalue().rstrip())
        return int(error.exit_code)
    if isinstance(error, EvoError):
        fail(str(error))
        return REFUSED if isinstance(error, RefusedError) else 1
    if isinstance(error, ModuleNotFoundError) and error.name in TRAINING:
        fail(
            f"'{error.name}' is not installed, which models are made with; nothing was run; install this package with "
            "its extra 'train', on a Python for which torch has a wheel"
        )
    elif isinstance(error, OSError) and error.errno == ENAMETOOLONG:
        fail(f"a name is too long for a file: {str(error.filename)[:80]!r}...; it is no file that is there; mend it")
    elif fault := disk_fault(error):
        fail(f"{fault} ({error}); what was committed is kept; mend that and rerun")
    else:
        raise error
    return 1
