"""What a teacher's config refuses, and what a request's key depends on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evoembedding.schemas.teacher import Message, Price, Sampling, TeacherConfig, TeacherRequest

SECRET = "hunter2-secret"


@pytest.mark.parametrize(
    "url",
    [f"http://me:{SECRET}@localhost/v1", f"http://localhost/v1?key={SECRET}", f"http://localhost/v1#{SECRET}"],
)
def test_an_endpoint_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TeacherConfig(model="m", endpoints=(url,))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("url", ["", "localhost:8000", "file:///etc/passwd", "ftp://host/v1"])
def test_an_endpoint_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="no http or https address"):
        TeacherConfig(model="m", endpoints=(url,))


def request(text: str, sample: int, temperature: float) -> TeacherRequest:
    return TeacherRequest(
        model="m",
        revision="",
        messages=(Message(role="user", content=text),),
        sampling=Sampling(temperature=temperature),
        answer_schema="{}",
        sample=sample,
    )


ASKED = st.tuples(st.text(), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0]))


@given(ASKED, ASKED)
def test_requests_share_a_key_exactly_when_they_are_equal(
    one: tuple[str, int, float], two: tuple[str, int, float]
) -> None:
    assert (request(*one).call_id == request(*two).call_id) == (one == two)


def test_price_is_per_million_tokens() -> None:
    assert Price(prompt=2.0, completion=10.0).of(1_000_000, 100_000) == pytest.approx(3.0)
