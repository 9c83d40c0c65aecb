"""The warehouse: DuckLake tables, dataset versions, shards, the funnel and lineage. Imports only `schemas`."""
