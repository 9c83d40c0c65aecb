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

    def told(self) -> str:
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
        told = body(reply)
    except FaultError:
        return Listing({}, "/models gives no list of models")
    models = told.get("data", told.get("models")) if isinstance(told, dict) else told
    windows = {name: window for name, window in map(_model, models if isinstance(models, list) else []) if name}
    return Listing(windows, "" if windows else "/models gives no list of models")


def _model(told: Any) -> tuple[str, int | None]:
    if not isinstance(told, dict):
        return (told, None) if isinstance(told, str) else ("", None)
    name = next((told[key] for key in ("id", "name", "model") if isinstance(told.get(key), str)), "")
    return name, _window(told.get("max_model_len", told.get("context_length")))


def _window(told: Any) -> int | None:
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 12:
        told = int(told)
    return told if type(told) is int and 0 < told < MOST_WINDOW else None
