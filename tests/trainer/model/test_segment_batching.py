"""Segment-batching against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evoembedding.trainer.model.segment_batching import segment_batches


def by_definition(lengths: list[int], max_segments: int, max_tokens: int) -> list[list[int]]:
    """The paper's rule, segment by segment, for one episode."""
    batches: list[list[int]] = []
    for t, length in enumerate(lengths):
        last = batches[-1] if batches else None
        if last is None or len(last) == max_segments or sum(lengths[i] for i in last) + length > max_tokens:
            batches.append([t])
        else:
            last.append(t)
    return batches


lengths = st.lists(st.integers(1, 50), max_size=40)


@given(lengths, st.integers(1, 6), st.integers(1, 90))
def test_one_episode_follows_the_rule(lengths: list[int], max_segments: int, max_tokens: int) -> None:
    cuts = segment_batches([lengths], max_segments, max_tokens)
    assert [list(range(*cut)) for cut in cuts] == by_definition(lengths, max_segments, max_tokens)


@given(st.lists(lengths, min_size=1, max_size=4), st.integers(1, 6), st.integers(1, 90))
def test_lock_step_holds_the_limits_for_every_episode(
    episodes: list[list[int]], max_segments: int, max_tokens: int
) -> None:
    cuts = segment_batches(episodes, max_segments, max_tokens)
    assert [t for cut in cuts for t in range(*cut)] == list(range(max(map(len, episodes))))
    for start, stop in cuts:
        assert stop - start <= max_segments
        if stop - start > 1:
            assert all(sum(episode[start:stop]) <= max_tokens for episode in episodes)
