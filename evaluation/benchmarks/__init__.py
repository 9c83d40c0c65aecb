"""Benchmarks: each yields conversations with queries and their gold segments."""
