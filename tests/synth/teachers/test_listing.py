"""Lists of models in the forms that providers give them, and what they prove."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import httpx2
import pytest

from evoembedding.schemas.secrets import Scrubber
from evoembedding.synth.teachers.call import Endpoint, Reply
from evoembedding.synth.teachers.faults import FaultError, RefusedError
from evoembedding.synth.teachers.listing import NAMES, Listing, listing


class Answering:
    """In an endpoint's place: it answers what it is given, and knows what was asked."""

    def __init__(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply, self.asked = Reply(status, httpx2.Headers(), raw), list[str]()

    async def call(self, path: str, body: bytes | None = None) -> Reply:
        self.asked.append(path)
        return self.reply


def listed(body: Any, status: int = 200) -> Listing:
    answering = Answering(status, body)
    found = asyncio.run(listing(cast("Endpoint", answering), Scrubber(())))
    assert answering.asked == ["/models"]
    return found


@pytest.mark.parametrize(
    "models",
    [
        {"object": "list", "data": [{"id": "x"}, {"id": "y"}]},
        {"data": [{"name": "x"}]},
        {"models": [{"model": "x"}]},
        [{"id": "x"}],
        ["x", "y"],
        {"data": [None, 7, [], {}, {"id": 5}, {"id": "x"}]},
    ],
)
def test_a_list_in_any_layout_proves_what_it_names(models: Any) -> None:
    found = listed(models)
    assert found.serves("x") is True
    assert found.serves("z") is False


@pytest.mark.parametrize("name", ["openai/*", "models/x", "x/*", "provider/x"])
def test_patterns_and_prefixes_prove_nothing(name: str) -> None:
    assert listed({"data": [{"id": name}]}).serves("x") is None


@pytest.mark.parametrize(
    "body", [{"data": None}, {"data": "x"}, {}, [], None, 7, {"data": []}, b"<html>", b"\xff", b""]
)
def test_what_is_no_list_proves_nothing(body: Any) -> None:
    found = listed(body)
    assert found.serves("x") is None
    assert found.why == "/models gives no list of models"


@pytest.mark.parametrize("status", [204, 403, 404, 405, 429, 500, 503])
def test_a_status_proves_nothing(status: int) -> None:
    found = listed({"data": [{"id": "x"}]}, status)
    assert found == Listing({}, f"/models answers with status {status}")
    assert found.serves("x") is None


@pytest.mark.parametrize("status", [401, 301, 307])
def test_a_key_that_is_refused_or_a_redirect_is_told_at_once(status: int) -> None:
    with pytest.raises(RefusedError):
        listed({}, status)


def test_an_endpoint_that_cannot_be_reached() -> None:
    class Gone:
        async def call(self, path: str) -> Reply:
            raise FaultError("unreachable", "connection", "nothing")

    with pytest.raises(FaultError):
        asyncio.run(listing(cast("Endpoint", Gone()), Scrubber(())))


@pytest.mark.parametrize(
    ("told", "window"),
    [
        ({"max_model_len": 8192}, 8192),
        ({"max_model_len": "8192"}, 8192),
        ({"context_length": 4096}, 4096),
        *(({"max_model_len": odd}, None) for odd in (0, -1, True, 2**31, 1.5, "8k", "", "9" * 20, "٢٠", None, [1])),
        ({}, None),
    ],
)
def test_a_window_is_a_plausible_number(told: dict[str, Any], window: int | None) -> None:
    assert listed({"data": [{"id": "x", **told}]}).windows == {"x": window}


def test_few_names_are_told_and_none_acts() -> None:
    names = ["\x1b[31mred", *(f"m{n}" for n in range(99))]
    told = listed(names).names()
    assert told.startswith("\\x1b[31mred, m0, ")
    assert told.count(",") == NAMES - 1
