"""What an endpoint says that it serves, in the forms that providers give such lists."""

from __future__ import annotations

from typing import Any, NamedTuple

from evoembedding.schemas.secrets import Scrubber
from evoembedding.schemas.text import shown
from evoembedding.synth.teachers.call import Endpoint
from evoembedding.synth.teachers.completion import body
from evoembedding.synth.teachers.faults import FaultError
from evoembedding.synth.teachers.refusals import judge

MOST_WINDOW = 2**31
NAMES = 10  # shown


class Listing(NamedTuple):
    """Names and context windows; `why` says why it proves nothing, where it does not."""

    windows: dict[str, int | None]
    why: str = ""

    def serves(self, model: str) -> bool | None:
        """None where it cannot be told: no list, a list of patterns, or names with a prefix (`models/NAME`)."""
        if model in self.windows:
            return True
        like = any("*" in name or name.rpartition("/")[2] == model.rpartition("/")[2] for name in self.windows)
        return None if like or self.why else False

    def names(self) -> str:
        """The first names."""
        return ", ".join(shown(name, 80) for name in list(self.windows)[:NAMES])


async def listing(endpoint: Endpoint, scrub: Scrubber) -> Listing:
    """The list, or why there is none.

    Raises:
        FaultError: the endpoint cannot be reached.
        RefusedError: it does not take the key, or redirects.
    """
    reply = await endpoint.call("/models")
    if reply.status == 401 or 300 <= reply.status < 400:
        judge(reply, scrub)
    if reply.status != 200:  # some keys may ask and not list: 403
        return Listing({}, f"/models answers with status {reply.status}")
    try:
        answer = body(reply)
    except FaultError:
        return Listing({}, "/models gives no list of models")
    models = answer.get("data", answer.get("models")) if isinstance(answer, dict) else answer
    windows = {name: window for name, window in map(_model, models if isinstance(models, list) else []) if name}
    return Listing(windows, "" if windows else "/models gives no list of models")


def _model(entry: Any) -> tuple[str, int | None]:
    if not isinstance(entry, dict):
        return (entry, None) if isinstance(entry, str) else ("", None)
    name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str)), "")
    return name, _window(entry.get("max_model_len", entry.get("context_length")))


def _window(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    return value if type(value) is int and 0 < value < MOST_WINDOW else None
