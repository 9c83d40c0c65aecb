"""What a status means, how long a busy server asks to wait, and its words."""

from __future__ import annotations

import json
from email.utils import formatdate

import httpx2
import pytest

from evoembedding.schemas.secrets import Scrubber
from evoembedding.synth.teachers.call import Reply
from evoembedding.synth.teachers.completion import ReplyError
from evoembedding.synth.teachers.faults import FaultError, RefusedError, RunRefusedError
from evoembedding.synth.teachers.refusals import PAUSE_S, WORDS, judge, judge_reply, pause, words

NOW = 1_800_000_000  # Fri, 15 Jan 2027 08:00:00 GMT
NOTHING = Scrubber(())


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("20", 20),
        (" 20 ", 20),
        ("20.5", 20.5),
        ("0", 0),
        ("-5", 0),
        ("20, 30", 30),
        ("20s", 20),
        ("20 S", 20),
        ("1m30s", 90),
        ("500ms", 0.5),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("Friday, 15-Jan-27 08:01:30 GMT", 90),
        ("Fri Jan 15 08:01:30 2027", 90),
        ("Fri, 15 Jan 2027 10:01:30 +0200", 90),
        ("Fri, 15 Jan 2027 08:01:30", 90),
        ("2027-01-15T08:01:30Z", 90),
        ("2027-01-15 08:01:30", 90),
        (str(NOW + 90), 90),
        (str((NOW + 90) * 1000), 90),
        *((odd, PAUSE_S) for odd in ("", "soon", "inf", "nan", "PT90S", "Wed, 32 Foo 2026", "9" * 400, "1,")),
    ],
)
def test_a_pause_in_any_form(told: str, seconds: float) -> None:
    date = formatdate(NOW, usegmt=True)
    assert pause(httpx2.Headers({"retry-after": told, "date": date})) == pytest.approx(seconds)


def test_the_pause_that_says_most_counts_by_the_servers_clock() -> None:
    assert pause(httpx2.Headers()) == PAUSE_S
    assert pause(httpx2.Headers({"retry-after-ms": "15000", "retry-after": "99"})) == 15
    assert pause(httpx2.Headers({"retry-after-ms": "odd", "retry-after": "7"})) == 7
    assert pause(httpx2.Headers(), '{"error": {"details": [{"retryDelay": "34.5s"}]}}') == 34.5
    assert pause(httpx2.Headers({"retry-after": "2"}), '{"retryDelay": "34s"}') == 2
    # Without the server's clock ours is taken: a moment of long ago is over.
    assert pause(httpx2.Headers({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"})) == 0
    assert pause(httpx2.Headers({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})) > 1e9


def met(status: int, body: object = "", **headers: str) -> Exception | None:
    raw = body if isinstance(body, str) else json.dumps(body)
    try:
        judge(
            Reply(status, httpx2.Headers({k.replace("_", "-"): v for k, v in headers.items()}), raw.encode()), NOTHING
        )
    except (FaultError, RefusedError) as error:
        return error
    return None


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_what_every_request_would_meet_stops_the_run(status: int) -> None:
    assert isinstance(met(status, {"error": {"message": "no"}}), RunRefusedError)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Unsupported parameter: 'max_tokens' is not supported with this model."),
        (400, "This response_format type is unavailable now"),
        (422, "Extra inputs are not permitted: guided_json"),
        (400, "temperature must be 1 for this model"),
        (400, "Your credit balance is low: insufficient credit"),
        (429, "You exceeded your current quota, please check your plan and billing details."),
    ],
)
def test_a_parameter_of_all_requests_or_the_account_stops_the_run(status: int, message: str) -> None:
    refused = met(status, {"error": {"message": message}})
    assert isinstance(refused, RunRefusedError)
    assert refused.words == message


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."),
        (413, "<html>413 Request Entity Too Large</html>"),
        (400, "The response was filtered due to the content management policy"),
        (403, "flagged by moderation"),
    ],
)
def test_what_is_about_one_request_is_its_own(status: int, message: str) -> None:
    refused = met(status, {"error": {"message": message}})
    assert isinstance(refused, RefusedError)
    assert not isinstance(refused, RunRefusedError)
    assert refused.alone


@pytest.mark.parametrize("status", [400, 406, 418, 422])
def test_a_refusal_without_a_reason_counts_towards_the_run(status: int) -> None:
    refused = met(status, {"error": "no"})
    assert isinstance(refused, RefusedError)
    assert not isinstance(refused, RunRefusedError)
    assert not refused.alone


@pytest.mark.parametrize(
    ("status", "outcome", "charged"),
    [(429, "busy", "nothing"), (503, "busy", "nothing"), (529, "busy", "nothing")]
    + [(status, "unreachable", "call") for status in (502, 504, 520, 530)]
    + [(status, "failed", "call") for status in (500, 408, 409, 425, 501, 999)],
)  # fmt: skip
def test_what_may_pass(status: int, outcome: str, charged: str) -> None:
    fault = met(status, "")
    assert isinstance(fault, FaultError)
    assert (fault.outcome, fault.charged, fault.kind) == (outcome, charged, str(status))


def test_a_quota_that_comes_back_is_waited_out() -> None:
    told = {"error": {"message": "You exceeded your current quota", "details": [{"retryDelay": "34s"}]}}
    for fault, seconds in ((met(429, told), 34), (met(429, "quota, billing", retry_after="7"), 7)):
        assert isinstance(fault, FaultError)
        assert (fault.outcome, fault.pause_s) == ("busy", seconds)


def test_a_success_is_none() -> None:
    assert met(200) is None


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("https://other.example:8443/v1?key=abc#x", "to https://other.example:8443,"),
        ("/login", "to another place there"),
        ("http://[::1", "to another place there"),
        ("http://host:abc/", "to another place there"),
        ("", "to another place there"),
    ],
)
def test_a_redirect_names_an_origin_and_no_more(location: str, says: str) -> None:
    refused = met(307, location=location)
    assert isinstance(refused, RefusedError)
    assert says in refused.words
    assert "abc" not in refused.words


def test_an_error_inside_of_a_success() -> None:
    for status, message, kind in (
        (402, "pay", RunRefusedError),
        (0, "Insufficient Balance", RunRefusedError),
        (400, "insufficient quota", RunRefusedError),
        (400, "Unsupported parameter: 'max_tokens'", RunRefusedError),
        (400, "maximum context length is 10 tokens", RefusedError),
        (418, "a teapot", RefusedError),
        (0, "anything", FaultError),
        (429, "slow", FaultError),
        (502, "upstream", FaultError),
    ):
        with pytest.raises(Exception) as raised:
            raise judge_reply(ReplyError({"error": {"message": message}}, status), NOTHING)
        assert type(raised.value) is kind, message
        assert message in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no  luck"}},
        {"error": "no luck"},
        {"message": "no luck"},
        {"detail": [{"msg": "no luck"}]},
        [{"error": {"message": "no\nluck"}}],
        {"error": {"type": "no luck"}},
    ],
)
def test_words_of_any_layout(body: object) -> None:
    assert words(json.dumps(body), NOTHING) == "no luck"


def test_words_are_plain_short_and_without_secrets() -> None:
    assert words("", NOTHING) == "no reason given"
    assert words("<html><style>b{}</style><b>bad</b> gateway</html>", NOTHING) == "bad gateway"
    assert words("\x1b[31mred\u202e", NOTHING) == "\\x1b[31mred\\u202e"
    assert len(words("x" * 9999, NOTHING)) == WORDS
    assert words("[" * 100_000, NOTHING).startswith("[[")
    assert words('{"error": "key sk-abc/12+3 is bad"}', Scrubber(["sk-abc/12+3"])) == "key [secret] is bad"
