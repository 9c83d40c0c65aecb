"""Teachers that do harm: a run of each kind, in a process held to 1 GB, ends with its good items answered."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evoembedding.warehouse.ledger import SqliteLedger
from tests.synth.hostile.server import KINDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KEY = 'sk-h0stile/+&%9Zq7Xw2"T'
ANSWERED = "answered"
USELESS, MALFORMED, REFUSED, CUT = "no answer in 3 attempts", "2 answers were malformed", "refused the request", "cut"
# What becomes of a bad item: it is answered, or fails with these words. Kinds that are not here: `USELESS`.
EXPECTED = {
    **dict.fromkeys(("gzip_bomb", "deflate_bomb", "endless", "length_10_gb"), "answer too large"),
    "wide": "over 1000000 values",
    "deep": "nested too deep",
    "deep_in_answer": "nested too deep",
    "packed_unknown": "encoding that was not asked for",
    "packed_wrongly": "packed wrongly",
    "streamed": "streamed answer",
    "error_in_success": "upstream",
    "escapes_in_500": "\\x1b[31mred\\x1b[0m \\u202egnp.exe [bold]",
    "gateway": "502",
    **dict.fromkeys(("drip", "drip_in_headers", "continue_endless", "silence"), "timeout"),
    **{kind: CUT for kind in KINDS if kind.startswith(("cut_", "header"))},
    **dict.fromkeys(("chunks_wrong", "no_http", "reset"), CUT),
    **{kind: ANSWERED for kind in KINDS if kind.startswith(("tokens_", "echo"))},
    **dict.fromkeys(("echo_malformed", "content_5_mb", "two_answers"), MALFORMED),
    **dict.fromkeys(("number_2_70", "number_5000_digits", "number_nan", "half_an_answer"), MALFORMED),
    **dict.fromkeys(("nul", "half_pair", "half_pair_in_answer", "latin_1"), MALFORMED),
    **dict.fromkeys(("content_null", "content_number", "tool_calls_word"), MALFORMED),
    **{kind: "it redirects to http://127.0.0.1:" for kind in KINDS if kind.startswith("redirect_3")},
    "redirect_strange": "it redirects to another place there",
    **dict.fromkeys(("echo_refusal", "escapes_in_refusal", "too_long", "error_30_mb"), REFUSED),
    "echo_500": "[secret]",
    **dict.fromkeys(("gzip_good", "reasoning_20_mb", "bom", "fence", "thoughts", "content_object"), ANSWERED),
    **dict.fromkeys(("content_parts", "tool_call", "reasoning_number", "finish_object", "finish_long"), ANSWERED),
    **dict.fromkeys(("model_and_id_wrong", "more_than_length"), ANSWERED),
}


class Ran(NamedTuple):
    """What the client told of each kind, how often the server was asked of each, and where the ledgers are."""

    told: dict[str, dict[str, Any]]
    asked: dict[str, int]
    elsewhere: dict[str, int]
    folder: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    import httpx

    folder = tmp_path_factory.mktemp("hostile")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "EVO_TEACHER_API_KEY": KEY}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.synth.hostile.server"], env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split()[0]
        words = [sys.executable, "-m", "tests.synth.hostile.client", port, str(folder), *KINDS]
        done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        asked, elsewhere = httpx.get(f"http://127.0.0.1:{port}/asked", trust_env=False).json()
    finally:
        server.kill()
        server.wait()
    (folder / "told.jsonl").write_text(done.stdout + done.stderr)
    yield Ran({one["kind"]: one for one in told}, asked, elsewhere, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_answer_is_its_items_alone(ran: Ran, kind: str) -> None:
    told, expected = ran.told[kind], EXPECTED.get(kind, USELESS)
    assert all(told["good"]) and len(told["good"]) >= 4
    for bad in told["bad"]:
        assert bad.startswith("failed: ") != (expected == ANSWERED), bad
        assert expected == ANSWERED or expected in bad
        assert bad.isprintable() and len(bad) < 600
    assert ran.asked[kind] <= 2 * 12  # 2 items
    assert told["same"], "what was counted is what the ledger remembers"
    assert told["tokens"] < 20_000
    assert told["megabytes"] < 600
    if kind.startswith("tokens_"):
        assert told["faults"] == {"tokens not told, counted here": 2}
        assert told["tokens"] > 50 * told["answered"]


def test_nothing_leaves_the_origin(ran: Ran) -> None:
    assert ran.elsewhere == {}


def test_no_form_of_the_key_is_kept(ran: Ran) -> None:
    key = KEY.encode()
    forms = [key, json.dumps(KEY).encode()[1:-1], key.hex().encode()]
    # Characters that the key alone decides, whatever stands before and after it.
    forms += [base64.b64encode(b"x" * before + key + b"yyy")[4:-8] for before in range(3)]
    files = [path for path in ran.folder.rglob("*") if path.is_file()]
    assert len(files) > len(KINDS)
    kept = {path: path.read_bytes() for path in files}
    for kind in KINDS:
        ledger = SqliteLedger.open(ran.folder / kind)
        for call in ledger.calls(kind):
            assert call.endpoint.startswith("http://127.0.0.1:")
            kept[ran.folder / call.call_id] = (ledger.request(call.call_id) or b"") + call.model_dump_json().encode()
        ledger.close()
    for path, data in kept.items():
        assert not [form for form in forms if form in data], path
