"""Decontamination: training texts that share a run of words with a benchmark.

Benchmark files and training texts come in; for each text the run of words that it shares goes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import file_digest
from evoembedding.schemas.ids import digest
from evoembedding.synth.curation.shingles import Words

VERSION = "decontaminate-3"
SUFFIXES = (".json", ".jsonl", ".parquet", ".txt", ".md", ".rst")
Readers = Mapping[str, Callable[[Path], Iterable[str]]]  # the texts of a benchmark's file, by the benchmark's name
LEAST_WORDS = 5  # a shorter text of a benchmark is no evidence of anything


class Benchmarks:
    """The runs of words of benchmark files, and their shorter texts as a whole."""

    def __init__(self, paths: Sequence[str], words: int, readers: Readers | None = None) -> None:
        """All texts in files of common forms; those of a file `NAME=PATH` as the reader of that name gives them.

        Args:
            words: the length of a run that is too long to be chance.

        Raises:
            EvoError: a file is missing, of an unknown kind, damaged, or without any text.
        """
        self._words = words
        self._short: set[str] = set()
        found = [np.zeros(0, dtype=np.uint64)]
        read_as, plain = _split(paths, readers or {})
        files = [file for path in plain for file in _files(path)]
        for file in files:
            found.append(self._add(file, _texts(file)))
        as_read: list[list[str]] = []
        for name, file in read_as:
            texts = list((readers or {})[name](file))
            found.append(self._add(file, texts))
            as_read.append([name, digest(texts, 16)])  # what was read, not the file: a reader may change
        self._runs = np.unique(np.concatenate(found))
        held: dict[str, Any] = {"version": VERSION, "words": words, "files": sorted(map(file_digest, files))}
        if read_as:  # what was published before there were readers keeps its digest
            held["read as"] = sorted(as_read)
        self.digest = digest(held, 10)

    def shared(self, texts: Sequence[str] | pl.Series, whole: bool = False) -> list[str]:
        """Of each text the first run of words that it shares with a benchmark, or ''.

        With `whole`, a text shorter than a run is compared with the benchmarks' short texts: for questions.
        """
        words = Words.of(texts)
        runs = words.shingles(self._words)
        held = np.flatnonzero(self._holds(runs.hashes))
        found = [""] * len(texts)
        for run in held[::-1]:  # backwards, so that the first is what stays
            of = int(np.searchsorted(runs.offsets, run, side="right")) - 1
            found[of] = words.text(int(runs.starts[run]), self._words, of)
        if whole:
            for n in np.flatnonzero(words.lengths < self._words):
                text = words.text(int(words.offsets[n]), self._words, int(n))
                found[n] = text if text in self._short else ""
        return found

    def _holds(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._runs):
            return np.zeros(len(hashes), dtype=np.bool_)
        place = np.searchsorted(self._runs, hashes)
        return np.equal(self._runs[np.minimum(place, len(self._runs) - 1)], hashes)

    def _add(self, file: Path, texts: Iterable[str]) -> NDArray[np.uint64]:
        """The runs of a file's texts; shorter texts are kept as a whole."""
        words = Words.of(list(texts))
        lengths = words.lengths
        if not (lengths >= LEAST_WORDS).any():
            raise EvoError(
                f"benchmark file '{file}' holds no text of {LEAST_WORDS} words or more; nothing was published; "
                "name another file"
            )
        # Shorter than a run, a benchmark's question would never be met by one: it is held as a whole.
        for n in np.flatnonzero((lengths >= LEAST_WORDS) & (lengths < self._words)):
            self._short.add(words.text(int(words.offsets[n]), self._words, int(n)))
        runs = words.shingles(self._words)
        return runs.hashes[np.repeat(lengths >= self._words, np.diff(runs.offsets))]


def _split(paths: Sequence[str], readers: Readers) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Files under the names of their readers, and the other paths, which may hold a `=` too."""
    read_as, plain = [], []
    for path in paths:
        name, _, file = path.partition("=")
        if name in readers and file:
            read_as.append((name, Path(file)))
        else:
            plain.append(Path(path))
    return read_as, plain


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    else:
        files = [path] if path.is_file() and path.suffix.lower() in SUFFIXES else []
    if not path.exists():
        raise EvoError(
            f"benchmark '{path}' is not there; nothing was published, since its texts could be in the dataset; name a "
            "file or folder that is"
        )
    if not files:
        raise EvoError(
            f"benchmark '{path}' is no {', '.join(SUFFIXES)} file and no folder of such; nothing was published, since "
            "its texts could be in the dataset; name one that is"
        )
    return files


def _texts(file: Path) -> Iterator[str]:
    """Every text of a file, whatever its layout."""
    try:
        kind = file.suffix.lower()
        if kind == ".parquet":
            for row in pl.read_parquet(file, glob=False).iter_rows():
                yield from _strings(row)
        elif kind == ".json":
            yield from _strings(json.loads(file.read_text(encoding="utf-8-sig")))
        elif kind == ".jsonl":
            with file.open(encoding="utf-8-sig") as lines:
                for line in lines:
                    yield from _strings(json.loads(line)) if line.strip() else ()
        else:
            yield file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise EvoError(
            f"benchmark file '{file}' cannot be read ({str(error).splitlines()[0]}); nothing was published, since its "
            "texts could be in the dataset; mend the file or leave it out"
        ) from None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)
