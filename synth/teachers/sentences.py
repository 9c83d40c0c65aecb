"""What is told of an endpoint that cannot be used: what, at which address, what follows, and the way out."""

from __future__ import annotations

import os
from typing import NamedTuple

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shown
from evoembedding.synth.teachers.faults import FaultError, RefusedError

KEPT = "the answers so far are in the ledger and are not asked for again"
ADDRESS = "the address usually ends in /v1"


class Sentences(NamedTuple):
    """Of one teacher."""

    name: str
    model: str
    key_env: str

    def refused(self, url: str, refused: RefusedError) -> EvoError:
        """Every request would be refused."""
        status = refused.status
        if status in (401, 403):
            return self.key_rejected(url, status)
        if status in (404, 405):
            return self.not_served(url, f"{refused.words} (status {status}); look at the model's name and the address")
        if 300 <= status < 400:
            return EvoError(f"teacher endpoint '{shown(url)}' cannot be asked (status {status}): {refused.words}")
        return EvoError(
            f"teacher endpoint '{shown(url)}' refuses what it is asked (status {status}): {refused.words}; the run "
            f"stops, since it would refuse the rest too; {KEPT}; mend that and rerun"
        )

    def key_rejected(self, url: str, status: int) -> EvoError:
        """The key is wrong, or missing."""
        what = "was rejected" if os.environ.get(self.key_env) else "is not set"
        return EvoError(
            f"the API key in ${self.key_env} {what} at '{shown(url)}' (status {status}); no answer was paid for; "
            f"set {self.key_env} in the environment"
        )

    def not_served(self, url: str, why: str) -> EvoError:
        """The model is not there, or the address is of something else."""
        hint = "" if url.rstrip("/").endswith("/v1") else f"; {ADDRESS}"
        return EvoError(f"'{shown(url)}' does not serve model '{shown(self.model)}'; no teacher was asked; {why}{hint}")

    def fault(self, url: str, fault: FaultError) -> EvoError:
        """An endpoint that gives no answer when it is looked at."""
        where = f"teacher endpoint '{shown(url)}'"
        if fault.useless:
            return EvoError(f"{where} does not answer as OpenAI's API does ({fault}); no teacher was asked; {ADDRESS}")
        if fault.outcome == "busy":
            return EvoError(
                f"{where} is busy ({fault.kind}: {fault.detail}) and asks to wait {fault.pause_s:.0f} s; no teacher "
                "was asked; rerun then"
            )
        if fault.kind.isdigit():
            return EvoError(
                f"{where} fails (status {fault.kind}: {fault.detail}); no teacher was asked; rerun when it is mended"
            )
        return EvoError(
            f"{where} cannot be reached ({fault}); no teacher was asked; start it, for example with "
            "'evo teacher serve', or name another endpoint"
        )

    def silent(self, seconds: float) -> EvoError:
        """No endpoint answers any more."""
        return EvoError(
            f"no endpoint of teacher '{self.name}' answered for {seconds:.0f} s; {KEPT}; start the endpoint and rerun"
        )

    def given_up(self, fault: FaultError, items: int) -> EvoError:
        """One item after another gets no answer."""
        detail = f"{fault.kind}: {fault.detail}" if fault.detail else fault.kind
        return EvoError(
            f"teacher '{self.name}' answered none of {items} items in a row, however often they were tried ({detail}); "
            f"the run stops, since the rest would fare alike; {KEPT}; mend the endpoint and rerun"
        )

    def closed(self, seconds: float, patience_s: float) -> EvoError:
        """Every endpoint asks for a longer wait than there is patience."""
        return EvoError(
            f"teacher '{self.name}' is busy and asks to wait {seconds:.0f} s, longer than its patience_s of "
            f"{patience_s:.0f}; {KEPT}; rerun then, or raise patience_s"
        )
