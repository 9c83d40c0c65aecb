"""Benchmarks, baselines, metrics and reports. Knows an `Encoder`, never a model class."""
