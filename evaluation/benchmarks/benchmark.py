"""What an entry of the registry says: how a benchmark is read, and what the command and reports call it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from evoembedding.schemas.benchmark import BenchmarkData
from evoembedding.schemas.episode import Draft
from evoembedding.schemas.errors import EvoError


def _of_no_version(label: str) -> BenchmarkData:
    raise EvoError(f"no warehouse is read here, and so no version '{label}'")


class Given(NamedTuple):
    """What a benchmark may be read from: a file; held-out worlds, which `drafts` makes and `worlds` names; and what
    dataset versions hold out, which `own` reads by their labels ('' for that of the model).
    """

    path: Path | None = None
    worlds: str = ""
    drafts: Callable[[], Iterable[Draft]] = tuple
    own: Callable[[str], BenchmarkData] = _of_no_version
    part: str = ""  # what stands behind `NAME:`

    @property
    def file(self) -> Path:
        """The file of a benchmark that needs one: `read_benchmark` has seen to it that it is given."""
        assert self.path is not None
        return self.path


class Benchmark(NamedTuple):
    """A benchmark by its name. What `read` raises over a file that is not its own is told as a sentence."""

    name: str
    title: str  # in reports
    says: str  # in the command's help
    read: Callable[[Given], BenchmarkData]
    file: str = ""  # what its file is called; '' where it needs none
    part: str = ""  # what may stand behind `NAME:`; '' where nothing may
