"""What calls take: by the server's count where that can be true, else by ours, on the high side.

Requests and what was answered come in; numbers of tokens go out.
"""

from __future__ import annotations

from typing import NamedTuple

from evoembedding.schemas.teacher import TeacherRequest
from evoembedding.synth.teachers.completion import Completion

CHARACTERS_A_TOKEN = 3  # on the safe side of English's four or so: a reservation must not be too small
TEMPLATE_TOKENS = 32  # that a chat template adds to a message
SLACK, MORE = 10_000, 10  # counts of up to ten times ours, and these more, are believed


class Counted(NamedTuple):
    """Tokens of an answered call; `reported` is false where a count is ours."""

    prompt: int
    completion: int
    reported: bool


def most_prompt_tokens(request: TeacherRequest) -> int:
    """An estimate on the safe side of a prompt's tokens: text, schema (some servers show it to the model), template."""
    characters = sum(len(m.content.encode()) for m in request.messages) + len(request.answer_schema)
    return characters // CHARACTERS_A_TOKEN + TEMPLATE_TOKENS * len(request.messages)


def count(request: TeacherRequest, answered: Completion) -> Counted:
    """Tokens of a call. A count that is missing, negative, nothing at all or beyond all measure is replaced."""
    ours = most_prompt_tokens(request)
    written = answered.size // CHARACTERS_A_TOKEN + 1
    prompt, completion = answered.prompt_tokens, answered.completion_tokens
    if prompt is None or not 0 < prompt <= MORE * ours + SLACK:
        prompt = None
    most = MORE * max(written, request.sampling.max_tokens) + SLACK
    if completion is None or not (any(answered.texts) <= completion <= most):
        completion = None
    reported = prompt is not None and completion is not None
    own = sum(len(text.encode(errors="replace")) for text in answered.texts) // CHARACTERS_A_TOKEN + 1
    return Counted(ours if prompt is None else prompt, own if completion is None else completion, reported)
