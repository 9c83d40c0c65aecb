"""Questions of the user's own, about documents that a dataset version keeps apart from training, as a benchmark."""

from __future__ import annotations

from evoembedding.evaluation.benchmarks.benchmark import Benchmark, Given
from evoembedding.schemas.benchmark import OWN as NAME
from evoembedding.schemas.benchmark import BenchmarkData


def _read(given: Given) -> BenchmarkData:
    return given.own(given.part)


OWN = Benchmark(
    NAME,
    "held-out questions of your own",
    "questions on documents that the model's dataset version, or another, keeps apart from training",
    _read,
    part="NAME@N",
)
