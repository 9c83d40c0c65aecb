"""Rows of exports of an older form, in the form of today."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def row_of(table: str, row: Mapping[str, Any], form: int) -> dict[str, Any]:
    """A row of a table as form `form` has it.

    Form 1 called the column `check_name` of verdicts `check`, and kept the stage before among a stage's components.
    """
    found = dict(row)
    if form < 2 and table == "verdicts" and "check" in found:
        found["check_name"] = found.pop("check")
    if form < 2 and table == "fingerprints":
        components = json.loads(found["components"])
        found["before"] = components.pop("stage before", "")
        found["components"] = json.dumps(components, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return found
