"""An exported dataset version: the published record form of EvoTrain (arXiv 2606.21649), and what vouches for it."""

from __future__ import annotations

from typing import Literal

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record

Format = Literal["parquet", "jsonl"]
MANIFEST = "export.json"  # its name in the folder
FORM = 2  # raise when a column changes its meaning or name, and say in warehouse/exchange/old_exports.py how to read


class ExportFile(Record):
    """One file of an export; `name` is relative to its folder."""

    name: str
    rows: int
    bytes: int
    blake2b: str


class ExportManifest(Record):
    """What an exported folder holds: episodes, a row each, and the rows of other tables that they name."""

    form: int
    format: Format
    version: DatasetVersion
    episodes: tuple[ExportFile, ...]
    named: dict[str, ExportFile]  # by table

    @property
    def files(self) -> tuple[ExportFile, ...]:
        return (*self.episodes, *self.named.values())
