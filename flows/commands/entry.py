"""Where `evo` begins and ends: signals, and what is said and returned when something went wrong.

Exit codes: 0 done, 1 failed or done in part, 2 usage, 3 judged and refused, 130 interrupted, 143 by SIGTERM.
"""

from __future__ import annotations

import io
import sys
from typing import Any, NoReturn

from evoembedding.flows.terminal import interrupt

TRAINING = {"deepspeed", "peft", "safetensors", "tokenizers", "torch", "transformers"}  # of the extra `train`


def main() -> NoReturn:
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
    elif fault := disk_fault(error):
        fail(f"{fault} ({error}); what was committed is kept; mend that and rerun")
    else:
        raise error
    return 1
