"""Which sources are held out follows from their names and the share alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evoembedding.synth.curation.hold_out import held_out

NAMES = [f"notes/{n}.md" for n in range(2000)]


@given(st.lists(st.text(), max_size=4), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_share_holds_out_more(sources: list[str], one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert held_out(sources, 0) is None
    assert held_out(sources, small) in (None, *sources)
    assert held_out(sources, small) is None or held_out(sources, large) is not None


@given(st.lists(st.text(), max_size=4), st.text(), st.floats(0, 0.5))
def test_a_context_is_held_out_with_any_of_its_sources(sources: list[str], another: str, share: float) -> None:
    any_of = {held_out([one], share) for one in [*sources, another]} - {None}
    assert bool(any_of) == (held_out([*sources, another], share) is not None)


def test_the_share_is_that_of_the_names() -> None:
    found = sum(held_out([name], 0.1) is not None for name in NAMES)
    assert 150 < found < 250
