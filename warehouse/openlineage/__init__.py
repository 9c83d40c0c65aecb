"""OpenLineage: what other tools are told of runs and of what they read and made."""
