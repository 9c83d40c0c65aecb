"""Ctrl-C and SIGTERM: what runs gets a moment to put things in order; then the process leaves, whatever holds it up.

Every commit is whole or absent, so that leaving at once costs no more than `kill -9` does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from evoembedding.schemas.endings import end

# A user waits five seconds. A library that swallowed the interrupt, a query that cannot be stopped, or a server that
# does not answer may hold up the main thread for minutes.
DEADLINE_S = 3.5
SENTENCE = "interrupted; what was committed is kept, rerun the same command to go on"
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []  # by whichever thread saw it first
_delivered: list[int] = []  # to the code that runs
_left: list[int] = []
_expected: list[bool] = []
_installed: list[bool] = []
# Reentrant: one more signal may come to the very thread that is leaving.
_leaving = threading.RLock()


def install() -> None:
    """From now on the first signal is a `KeyboardInterrupt` in the main thread, and the second ends the process."""
    if _installed:
        return
    _installed.append(True)
    read_end, write_end = os.pipe()
    # As `set_wakeup_fd` wants it.
    os.set_blocking(write_end, False)
    # Python's handlers run when the main thread comes back from C; this byte is written when the signal comes.
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` and shells in the background ask
            signal.signal(number, _interrupted)
    threading.Thread(target=_watch, args=(read_end,), daemon=True).start()


def expect() -> None:
    """Ctrl-C is how this command ends: it takes the time that it needs then, and has not failed."""
    _expected.append(True)


def unexpected() -> bool:
    """Whether a signal came that the command does not wait for."""
    return bool(_received) and not _expected


@contextmanager
def stopped_by(stop: Callable[[], object]) -> Iterator[None]:
    """The first signal in this block calls `stop` in place of `KeyboardInterrupt`. In other threads: nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def first(number: int, frame: object) -> None:
        restore()
        _note(number)
        _delivered.append(number)
        stop()

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is first:
                signal.signal(number, handler)

    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, first)
    try:
        yield
    finally:
        restore()


def leave(sentence: str = SENTENCE) -> NoReturn:
    """Say the sentence and end the process at once, with 128 and the signal's number as shells count: 130 or 143."""
    code = 128 + (_received[0] if _received else signal.SIGINT)
    with _leaving:
        if _left:  # one more signal, while we leave
            os._exit(code)
        _left.append(code)
        with suppress(OSError):  # nobody may be left to read it; and print would wait for a lock
            before = "\n\x1b[?25h" if os.isatty(2) else ""  # behind `^C`; and the cursor, which a live display hides
            os.write(2, f"{before}evo: {sentence}\n".encode(errors="backslashreplace"))
        end()
        os._exit(code)


def _note(number: int) -> None:
    if not _received:
        _received.append(number)
        # What is torn down in the middle of its work complains; none of that is of use to a user.
        sys.unraisablehook = lambda unraised: None
        threading.excepthook = lambda unraised: None


def _interrupted(number: int, frame: object) -> None:
    if _delivered:
        leave()
    _note(number)
    _delivered.append(number)
    raise KeyboardInterrupt


def _watch(signals: int) -> None:
    """Ends the process after a second signal, or some time after the first."""
    while first := os.read(signals, 1):
        if first[0] in SIGNALS:
            break
    _note(first[0])
    if not _expected:
        timer = threading.Timer(DEADLINE_S, leave)
        timer.daemon = True
        timer.start()
    while True:
        if os.read(signals, 1)[0] in SIGNALS:
            leave()
