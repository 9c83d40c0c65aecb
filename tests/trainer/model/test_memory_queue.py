"""The queue against a Python list."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.trainer.model.memory_queue import MemoryQueue, windows


@given(st.integers(1, 9), st.lists(st.integers(0, 6), max_size=12))
def test_queue_is_a_bounded_list(capacity: int, pushes: list[int]) -> None:
    queue = MemoryQueue.empty(2, 1, capacity, like=torch.zeros(1))
    reference: list[int] = []
    number = 0
    for count in pushes:
        new = list(range(number, number + count))
        number += count
        reference = (reference + new)[-capacity:]
        queue = queue.push(torch.tensor(new, dtype=torch.float32).reshape(1, -1, 1).expand(2, -1, 1))
        assert queue.latents[0, :, 0].tolist() == queue.latents[1, :, 0].tolist() == reference
        assert len(queue) == len(reference) <= capacity


@given(st.integers(1, 9), st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_windows_are_the_queue_at_that_time(capacity: int, ends: list[int]) -> None:
    history = torch.arange(12.0).reshape(1, 12, 1).expand(len(ends), -1, 1)
    found, sizes = windows(history, torch.tensor(ends), capacity)
    for row, size, end in zip(found, sizes.tolist(), ends, strict=True):
        assert row[:size, 0].tolist() == list(range(12))[:end][-capacity:]
