"""Documents: their texts, and what changed at their sources."""
