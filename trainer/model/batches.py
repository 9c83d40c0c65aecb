"""Batches: neighbours of the length-sorted shards under a token budget; some of them make a step.

Rows of a shard set come in; `Batch`es of padded token ids and masks go out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from evoembedding.schemas.configs import TrainConfig
from evoembedding.trainer.model.packing import Pieces, cut


@dataclass(frozen=True)
class Batch:
    """What one forward reads. Shapes: B contexts, T segments, G questions, S tokens.

    A step averages the losses of its batches, and a batch those of its questions: batches weigh alike.
    """

    context_ids: tuple[str, ...]
    episode_ids: tuple[str, ...]
    memory: Pieces  # [B, T, S]
    segments: Pieces  # [B, T, S]
    queries: Pieces  # [B, G, S]
    answers: Pieces  # [B, G, S] question and answer as the answer pass reads them behind the memory
    answer_starts: Tensor  # [B, G] where in `answers` the answer begins, on the CPU
    opening: Tensor  # [O] tokens before the memory in the answer pass
    totals: Tensor  # [B] segments, on the CPU
    evidence: Tensor  # [B, G, T]
    present: Tensor  # [B, T]
    asked: Tensor  # [B, G]

    @property
    def tokens(self) -> int:
        """Text tokens of the memory pass."""
        return int(self.memory.lengths.sum())

    @property
    def padding(self) -> float:
        """Share of the memory pass's rows that is padding."""
        sums = self.memory.lengths.sum(1)
        return 1 - int(sums.sum()) / max(int(sums.max()) * len(sums), 1)

    def to(self, device: torch.device) -> Batch:
        """The same with token ids and masks on a device; lengths and places stay on the CPU."""
        pieces = {name: getattr(self, name).to(device) for name in ("memory", "segments", "queries", "answers")}
        tensors = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("opening", "evidence", "present", "asked")
        }
        return replace(self, **pieces, **tensors)


class Schedule:
    """Which batches make each step: a function of the step alone, so a job resumes anywhere, on any number of ranks.

    Neighbouring batches form a step, so that ranks wait little for each other; whether the longest of them comes first
    or last alternates, so that an epoch costs all ranks the same. Steps are shuffled every epoch. The last step of an
    epoch is filled up with batches of its front, so no row is left out.
    """

    def __init__(self, tokens: Sequence[int], config: TrainConfig) -> None:
        batches, a_step = cut(tokens, config.batch_episodes, config.token_budget), config.batches_per_step
        self.steps_per_epoch = math.ceil(len(batches) / a_step)
        filled = [batches[i % len(batches)] for i in range(self.steps_per_epoch * a_step)]
        self._steps = [filled[i : i + a_step] for i in range(0, len(filled), a_step)]
        self._steps[1::2] = [step[::-1] for step in self._steps[1::2]]
        self._seed = config.seed

    def batches(self, step: int) -> list[list[int]]:
        """Row indices of each batch of zero-based `step`."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = list(range(self.steps_per_epoch))
        # From seed and epoch alone: no state of a generator has to be in a checkpoint.
        random.Random(f"{self._seed}-{epoch}").shuffle(order)
        return self._steps[order[within]]


def dealt(batches: int, rank: int, ranks: int) -> range:
    """Which of a step's batches a rank reads."""
    return range(rank, batches, ranks)


def collate(rows: Sequence[dict[str, Any]]) -> Batch:
    """A batch from shard rows (`schemas.shard.ShardRow` as dictionaries)."""
    questions = [row["questions"] for row in rows]
    T, G = max(row["segments"] for row in rows), max(map(len, questions))
    evidence = torch.zeros(len(rows), G, T, dtype=torch.bool)
    starts = torch.zeros(len(rows), G, dtype=torch.long)
    for b, of_row in enumerate(questions):
        for g, question in enumerate(of_row):
            evidence[b, g, list(question["evidence"])] = True
            starts[b, g] = len(question["answer_after"])
    totals = torch.tensor([row["segments"] for row in rows])
    asked = torch.arange(G) < torch.tensor([len(q) for q in questions])[:, None]
    return Batch(
        context_ids=tuple(row["context_id"] for row in rows),
        episode_ids=tuple(q["episode_id"] for of_row in questions for q in of_row),
        memory=Pieces.of([row["memory_tokens"] for row in rows]),
        segments=Pieces.of([row["retriever_tokens"] for row in rows]),
        queries=Pieces.of([[q["query_tokens"] for q in of_row] for of_row in questions]),
        answers=Pieces.of([[[*q["answer_after"], *q["answer_tokens"]] for q in of_row] for of_row in questions]),
        answer_starts=starts,
        opening=torch.tensor(questions[0][0]["answer_before"], dtype=torch.long),  # the template's: one for all
        totals=totals,
        evidence=evidence,
        present=torch.arange(T) < totals[:, None],
        asked=asked,
    )
