"""Questions of teachers."""

from __future__ import annotations

from evoembedding.schemas.configs import Recipe, SimulatorConfig, TeachingConfig
from evoembedding.schemas.teacher import ServeConfig, TeacherConfig


def taught() -> Recipe:
    """Teachers only, at the paper's lengths: a thousand personas, every document, memories of a third of both.

    The teacher is SmolLM2 on a server that the run starts itself; name a better one with --teacher and --model, or in
    a recipe file.
    """
    return Recipe(
        name="taught",
        simulator=SimulatorConfig(contexts=0),
        cloze=None,
        teaching=TeachingConfig(teachers=(TeacherConfig(model="SmolLM2-135M-Instruct", serve=ServeConfig()),)),
    )
