"""What the warehouse remembers of a recipe's stages: which items went through them, and what changed since."""

from __future__ import annotations

import json

from evoembedding.synth.fingerprints import BEFORE, Stage
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.fingerprints import Fingerprints


class Known:
    """What the warehouse remembers of a scope's stages and of the items done under them."""

    def __init__(self, warehouse: Warehouse, scope: str) -> None:
        stages = warehouse.query("SELECT * FROM fingerprints WHERE scope = ? ORDER BY rowid", (scope,))
        self._stages = {row["fingerprint"]: row for row in stages.iter_rows(named=True)}
        rows = warehouse.query("SELECT DISTINCT item, kind, fingerprint FROM outcomes WHERE scope = ?", (scope,))
        self._items = rows.rows()
        self._lines = Fingerprints(warehouse)

    def done(self, stage: Stage) -> set[str]:
        """The items that went through this very stage, whatever came after it."""
        lasts = {last for _, _, last in self._items}
        through = {last for last in lasts if stage.fingerprint in self._lines.line(last)}
        return {item for item, _, last in self._items if last in through}

    def tried(self, kind: str) -> set[str]:
        """The items of a kind that were done under any settings."""
        return {item for item, of_kind, _ in self._items if of_kind == kind}

    def because(self, stage: Stage) -> tuple[str, ...]:
        """The names of the components in which the stage differs from its last other version."""
        others = self.others(stage)
        if not others:
            return ()
        theirs = {**json.loads(self._stages[others[-1]]["components"]), BEFORE: self._stages[others[-1]]["before"]}
        # By way of JSON, as theirs were: tuples become lists.
        ours = {**json.loads(json.dumps(stage.components)), BEFORE: stage.before}
        changed = [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]
        return tuple(sorted(changed, key=lambda name: name == BEFORE))

    def others(self, stage: Stage) -> list[str]:
        """The fingerprints of its other versions, oldest first."""
        same = (stage.name, stage.kind)
        return [
            fingerprint
            for fingerprint, row in self._stages.items()
            if (row["stage"], row["kind"]) == same and fingerprint != stage.fingerprint
        ]
