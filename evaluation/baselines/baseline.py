"""What an entry of the registry says: a system beside the model, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

from evoembedding.schemas.benchmark import Encoder


class Baseline(NamedTuple):
    """A baseline under the name that its scores are stored by."""

    name: str
    says: str  # on the page about evaluation
    make: Callable[[], Encoder]
    package: str = ""  # what `make` imports and the project does not depend on; left out where it is not installed

    @property
    def here(self) -> bool:
        """Whether it can run."""
        return not self.package or find_spec(self.package) is not None
