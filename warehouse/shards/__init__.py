"""Shard sets: a dataset version tokenised once and sorted by length."""
