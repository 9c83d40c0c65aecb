"""Prefect flows, the recipes they run, and the `evo` command. The only room with Prefect decorators.

    evo WORDS ──terminal──▶ commands ──recipes──▶ Recipe ─┐
                                                          ▼
    ingest ─▶ synthesize ─▶ build_dataset (curate, publish, shard) ─▶ train ─▶ evaluate      pipeline: all of them
                  └─ teaching                                                    └─ report
      each: reads what is pending ─▶ calls a room ─▶ commits ─▶ tells OpenLineage (lineage_events)

Flows join the rooms, which know little of each other: they hand rows of the warehouse to `synth`, a tokenizer to
`warehouse`, an embedder to `evaluation`. Nothing imports this room.
"""

from evoembedding.flows import settings  # noqa: F401  first: Prefect reads its settings once, at import
