"""The warehouse: DuckLake tables, dataset versions, shards, the funnel and lineage. Imports only `schemas`.

    records ──Warehouse.append_all──▶ tables ──datasets──▶ name@N ──shards──▶ length-sorted Parquet
                  (catalog)             │ ▲                  │ ▲
                                        │ └── migration      │ └──exchange──▶ folders that `datasets` opens, and back
          lineage ◀─────────────────────┼────────────────────┘
    (trace, impact, withdrawal)         ├──sql──▶ comments and views for other programs
                                        └──upkeep──▶ doctor, backup, retention

In come frames of records, in one transaction a partition; out go frames, versions, shard sets and trees of lineage.
What teachers answered is beside the lake, in `ledger`.
"""
