"""What teachers are asked: a Markdown template a prompt, and the record that its answer fills.

A prompt's version is the hash of its text and of its answer's JSON schema: it is part of the fingerprint of the stage.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel

from evoembedding.schemas.ids import digest
from evoembedding.schemas.teacher import Message, answer_schema
from evoembedding.synth.prompts import answers

FOLDER = Path(__file__).parent
TURN = "\n## user\n"  # what stands above it is the system message
# Prompts are plain text, not HTML: nothing is escaped. A variable that a caller forgets is an error.
_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)


class Prompt(NamedTuple):
    """A template `NAME.md` and the record that its answer fills."""

    name: str
    answer: type[BaseModel]

    @property
    def version(self) -> str:
        """20 hex digits; differs when the text or the answer's form does."""
        return digest({"text": _text(self.name), "schema": answer_schema(self.answer)}, 10)

    def render(self, **values: Any) -> tuple[Message, Message]:
        """System and user message.

        Raises:
            jinja2.UndefinedError: a variable of the template is missing.
        """
        system, user = _templates(self.name)
        return (
            Message(role="system", content=system.render(values).strip()),
            Message(role="user", content=user.render(values).strip()),
        )


@cache
def _text(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


@cache  # compiling takes longer than rendering
def _templates(name: str) -> tuple[Template, Template]:
    system, user = _text(name).split(TURN)
    return _ENVIRONMENT.from_string(system), _ENVIRONMENT.from_string(user)


PROMPTS: dict[str, Prompt] = {
    prompt.name: prompt
    for prompt in (
        Prompt("plan", answers.Plan),
        Prompt("turns", answers.Turns),
        Prompt("statements", answers.Statements),
        Prompt("question", answers.QuestionAnswer),
        Prompt("evidence", answers.EvidenceIndices),
        Prompt("answer", answers.ShortAnswer),
        Prompt("supported", answers.Judgement),
        Prompt("same_answer", answers.Judgement),
    )
}
