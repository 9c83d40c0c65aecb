"""What fingerprints stand for: their components, those of the stages before them, and where two of them differ."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from evoembedding.warehouse.catalog import Warehouse


class _Stage(NamedTuple):
    name: str
    kind: str
    components: dict[str, Any]
    before: str


class Fingerprints:
    """All fingerprints that the warehouse knows. There are few: one a stage and kind of context and setting."""

    def __init__(self, warehouse: Warehouse) -> None:
        rows = warehouse.query("SELECT DISTINCT fingerprint, stage, kind, components, before FROM lake.fingerprints")
        self._known = {
            fingerprint: _Stage(stage, kind, json.loads(components), before)
            for fingerprint, stage, kind, components, before in rows.rows()
        }

    def kind(self, fingerprint: str) -> str:
        """The kind of context that it is of; '' where it is not known."""
        return self._known[fingerprint].kind if fingerprint in self._known else ""

    def line(self, fingerprint: str) -> list[str]:
        """The fingerprint and those of the stages before it."""
        found: list[str] = []
        # Not twice: a damaged row may name a stage that comes after it.
        while fingerprint and fingerprint not in found:
            found.append(fingerprint)
            fingerprint = self._known[fingerprint].before if fingerprint in self._known else ""
        return found

    def differences(self, one: str, other: str) -> tuple[str, ...]:
        """The components in which two lines of stages differ, as `stage component`."""
        ours, theirs = self._components(one), self._components(other)
        return tuple(
            sorted(
                f"{stage} {name}"
                for stage in ours.keys() & theirs.keys()
                for name in ours[stage].keys() | theirs[stage].keys()
                if ours[stage].get(name) != theirs[stage].get(name)
            )
        )

    def _components(self, fingerprint: str) -> dict[str, dict[str, Any]]:
        known = (self._known[one] for one in self.line(fingerprint) if one in self._known)
        return {stage.name: stage.components for stage in known}
