"""Ids by their beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.synth.simulator import simulate
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.short_ids import whole_id


def test_a_beginning_stands_for_its_only_id_and_several_are_named(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        commit_drafts(warehouse, simulate(SimulatorConfig(contexts=20), 0, 20))
        ids = warehouse.query("SELECT context_id FROM lake.contexts ORDER BY ALL")["context_id"].to_list()
        assert whole_id(warehouse, ids[3]) == ids[3]
        assert whole_id(warehouse, ids[3][:-4]) == ids[3]
        for text in ("ctx-00000000", "ctx", "demo@1", "ctx-zz", "pep-0006", "x-0a1b", ""):
            assert whole_id(warehouse, text) == text
        first = next(c for c in "0123456789abcdef" if sum(i.startswith(f"ctx-{c}") for i in ids) > 1)
        with pytest.raises(EvoError, match=r"beginning of several: ctx-") as told:
            whole_id(warehouse, f"ctx-{first}")
        assert next(i for i in ids if i.startswith(f"ctx-{first}")) in str(told.value)
