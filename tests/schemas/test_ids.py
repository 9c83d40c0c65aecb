"""Ids: equal content, equal id, whatever the order of keys; different content, different id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evoembedding.schemas.ids import content_id, digest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values, min_size=2))
def test_key_order_does_not_matter(content: dict[str, object]) -> None:
    assert digest(content) == digest(dict(reversed(content.items())))


@given(st.text(), st.text())
def test_ids_differ_with_content(left: str, right: str) -> None:
    assert (content_id("doc", left) == content_id("doc", right)) == (left == right)


def test_an_id_is_the_same_on_every_machine() -> None:
    assert content_id("doc", {"b": 1, "a": "é"}) == content_id("doc", {"a": "é", "b": 1})
    assert content_id("doc", "x").startswith("doc-")
    assert len(content_id("doc", "x")) == 4 + 20
