"""Benchmarks: each is a file that yields conversations with queries and their gold segments, and an entry here.

The command's help, its mistakes, reports, decontamination and tests read the entries and know no benchmark by name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from evoembedding.evaluation.benchmarks.benchmark import Benchmark, Given
from evoembedding.evaluation.benchmarks.heldout import HELDOUT
from evoembedding.evaluation.benchmarks.locomo import LOCOMO
from evoembedding.evaluation.benchmarks.own import OWN
from evoembedding.schemas.benchmark import BenchmarkData
from evoembedding.schemas.errors import EvoError, first_fault
from evoembedding.schemas.text import shown

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one
    for one in (
        HELDOUT,
        LOCOMO,
        OWN,
    )
}

# What readers raise over a file that is not their own; besides, what Polars and Arrow do.
OF_READERS = (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RecursionError, zlib.error)


def read_benchmark(name: str, given: Given, followed: str = "nothing was evaluated") -> BenchmarkData:
    """What the benchmark of this name holds.

    Raises:
        EvoError: there is no such benchmark, its file is missing, is another's or cannot be read, or nothing can be
            asked. The sentence says what `followed` from it.
    """
    known, _, part = name.partition(":")
    if known not in BENCHMARKS or (part and not BENCHMARKS[known].part):
        raise EvoError(f"unknown benchmark '{shown(name)}'; {followed}; the benchmarks are: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[known]
    if benchmark.file and given.path is None:
        raise EvoError(f"benchmark '{name}' needs --path FILE; {followed}; give its {benchmark.file}")
    if given.path is not None and not benchmark.file:
        raise EvoError(f"benchmark '{name}' is read from no file; {followed}; leave --path out")
    way_out = f"{followed}; give {benchmark.title}'s {benchmark.file}" if benchmark.file else followed
    where = f"benchmark file '{shown(str(given.path))}'" if benchmark.file else f"benchmark '{name}'"
    try:
        found = benchmark.read(given._replace(part=part))
    # First, since it is a ValueError as well.
    except ValidationError as error:
        raise EvoError(f"{where} is not {benchmark.title} ({shown(first_fault(error), 300)}); {way_out}") from error
    except Exception as error:
        # Of no file, or of another kind, it is a fault of the code, whose traceback is wanted.
        if not benchmark.file or not isinstance(error, (*OF_READERS, *_of_libraries())):
            raise
        raise EvoError(f"{where} cannot be read ({shown(_message(error), 300)}); {way_out}") from error
    if not found.questions:
        raise EvoError(
            f"{where} holds no question that can be asked, in {len(found.conversations)} conversations: "
            f"{found.left_out} were left out, since their evidence is not in the conversation; {way_out}"
        )
    return found


def _of_libraries() -> tuple[type[Exception], ...]:
    """The errors of Polars and Arrow, which are imported when they are asked for: help reads this file too."""
    from polars.exceptions import PolarsError
    from pyarrow import ArrowException

    return PolarsError, ArrowException


def _message(error: Exception) -> str:
    """What an error says; with its type where that alone, as of a missing key, says nothing."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    bare = isinstance(error, TypeError | AttributeError | LookupError)
    return f"{type(error).__name__}: {error}" if bare else str(error)


def listed() -> str:
    """The names with what they are, for help."""
    return "; ".join(
        one.name
        + (f"[:{one.part}]" if one.part else "")
        + f": {one.says}"
        + (f" (--path {one.file})" if one.file else "")
        for one in BENCHMARKS.values()
    )


def texts(name: str, file: Path) -> Iterator[str]:
    """All texts of a benchmark's file that are read or asked: no training text may share them.

    Raises:
        EvoError: as `read_benchmark`; nothing is to be published then.
    """
    for conversation in read_benchmark(name, Given(file), "nothing was published").conversations:
        for segment in conversation.segments:
            yield from (segment.user, segment.assistant)
        for query in conversation.queries:
            yield query.text
