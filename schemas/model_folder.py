"""What vouches for the files of a model or tokenizer folder: `lineage.json`, which names the digests of all others but
the card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evoembedding.schemas.files import file_digest, write_whole

LINEAGE, CARD = "lineage.json", "README.md"
FILES = "files"


def vouch(folder: Path, lineage: dict[str, Any]) -> None:
    """Write `lineage.json` with the digests of the folder's files, which are complete by then."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in (LINEAGE, CARD))
    digests = {name: file_digest(folder / name) for name in names}
    write_whole(folder / LINEAGE, json.dumps({**lineage, FILES: digests}, indent=1, ensure_ascii=False) + "\n")


def check_vouched(folder: Path) -> None:
    """Compare a folder's files with its `lineage.json`, where it has one.

    Raises:
        ValueError: one has other bytes, or the digests cannot be read.
        OSError: one cannot be read.
    """
    if not (folder / LINEAGE).exists():
        return  # of weights that were imported, nothing is known
    try:
        lineage = json.loads((folder / LINEAGE).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{LINEAGE}' cannot be read") from error
    digests = lineage.get(FILES, {}) if isinstance(lineage, dict) else None
    if not isinstance(digests, dict):
        raise ValueError(f"'{LINEAGE}' holds no digests by file")
    for name, digest in digests.items():
        # A `lineage.json` may come from anywhere, and could have any file of the machine read.
        if Path(name).name != name:
            raise ValueError(f"'{LINEAGE}' names a file outside of the folder")
        found = file_digest(folder / name)
        if found != digest:
            raise ValueError(f"'{name}' has digest {found[:12]}, and '{LINEAGE}' says {str(digest)[:12]}")
