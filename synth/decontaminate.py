"""Decontamination: training texts that share a run of words with a benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import EvoError
from schemas.files import file_digest
from schemas.ids import digest
from synth.text import normalise, runs

VERSION = "decontaminate-1"
SUFFIXES = (".json", ".jsonl", ".parquet", ".txt", ".md", ".rst")
LEAST_WORDS = 5  # a shorter text of a benchmark is no evidence of anything


class Benchmarks:
    """The runs of words of benchmark files, and their shorter texts as a whole."""

    def __init__(self, paths: Sequence[str], words: int) -> None:
        """`words` is the length of a run that is too long to be chance.

        Raises:
            EvoError: a file is missing, of an unknown kind, damaged, or without any text.
        """
        self._words = words
        self._runs: set[str] = set()
        self._short: set[str] = set()
        files = [file for path in paths for file in _files(Path(path))]
        for file in files:
            if not sum([self._add(text) for text in _texts(file)]):
                raise EvoError(
                    f"benchmark file '{file}' holds no text of {LEAST_WORDS} words or more; nothing was published; "
                    "name another file"
                )
        self.digest = digest({"version": VERSION, "words": words, "files": sorted(map(file_digest, files))}, 10)

    def shared(self, text: str, whole: bool = False) -> str:
        """A run of words that the text shares with a benchmark, or ''.

        With `whole`, a text shorter than a run is compared with the benchmarks' short texts: for questions.
        """
        if whole and (short := normalise(text).strip()) in self._short:
            return short
        return next((run for run in runs(text, self._words) if run in self._runs), "")

    def _add(self, text: str) -> bool:
        words = normalise(text).split()
        if len(words) >= self._words:
            self._runs |= runs(text, self._words)
        elif len(words) >= LEAST_WORDS:
            self._short.add(" ".join(words))
        return len(words) >= LEAST_WORDS


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    else:
        files = [path] if path.is_file() and path.suffix in SUFFIXES else []
    if not files:
        raise EvoError(
            f"benchmark '{path}' is no {', '.join(SUFFIXES)} file and no folder of such; nothing was published, since "
            "its texts could be in the dataset; name one that is"
        )
    return files


def _texts(file: Path) -> Iterator[str]:
    """Every text of a file, whatever its layout."""
    try:
        if file.suffix == ".parquet":
            for row in pl.read_parquet(file).iter_rows():
                yield from _strings(row)
        elif file.suffix == ".json":
            yield from _strings(json.loads(file.read_text(encoding="utf-8")))
        elif file.suffix == ".jsonl":
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    yield from _strings(json.loads(line)) if line.strip() else ()
        else:
            yield file.read_text(encoding="utf-8")
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
