"""What fingerprints stand for: their components, those of the stages before them, and where two of them differ."""

from __future__ import annotations

import json
from typing import Any

from warehouse.catalog import Warehouse

BEFORE = "stage before"  # the component that is the fingerprint of the stage before it


class Fingerprints:
    """All fingerprints that the warehouse knows. There are few: one a stage and kind of context and setting."""

    def __init__(self, warehouse: Warehouse) -> None:
        rows = warehouse.query("SELECT DISTINCT fingerprint, stage, kind, components FROM lake.fingerprints")
        self._known: dict[str, tuple[str, str, dict[str, Any]]] = {
            fingerprint: (stage, kind, json.loads(components)) for fingerprint, stage, kind, components in rows.rows()
        }

    def kind(self, fingerprint: str) -> str:
        """The kind of context that it is of; '' where it is not known."""
        return self._known[fingerprint][1] if fingerprint in self._known else ""

    def line(self, fingerprint: str) -> list[str]:
        """The fingerprint and those of the stages before it."""
        found: list[str] = []
        while fingerprint and fingerprint not in found:
            found.append(fingerprint)
            fingerprint = str(self._known[fingerprint][2].get(BEFORE, "")) if fingerprint in self._known else ""
        return found

    def differences(self, one: str, other: str) -> tuple[str, ...]:
        """The components in which two lines of stages differ, as `stage component`."""
        ours, theirs = self._components(one), self._components(other)
        return tuple(
            sorted(
                f"{stage} {name}"
                for stage in ours.keys() & theirs.keys()
                for name in (ours[stage].keys() | theirs[stage].keys()) - {BEFORE}
                if ours[stage].get(name) != theirs[stage].get(name)
            )
        )

    def _components(self, fingerprint: str) -> dict[str, dict[str, Any]]:
        known = (self._known[mark] for mark in self.line(fingerprint) if mark in self._known)
        return {stage: components for stage, _, components in known}
