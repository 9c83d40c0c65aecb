"""What a tokenizer's chat template puts around the messages of a turn."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from evoembedding.schemas.errors import EvoError

COMPILED = "<template>"  # what Jinja calls the file of the Python that it makes of a template
STEPS = 100_000  # lines of it that may run; those of real models take hundreds
MEMORY = 1 << 30  # and bytes
MARKS = ["first-q", "first-a", "second-q", "second-a", "third-q", "third-a"]


@dataclass(frozen=True)
class ChatForm:
    """The pieces of `opening user reply assistant closing`, a turn as one among others.

    Taken from the middle of a conversation: templates put a system prompt before the first turn, and some of them
    (Qwen3) an empty thought into the last reply.
    """

    start: str  # BOS where a conversation begins with it, else empty
    opening: str  # before a user message
    reply: str  # between it and the assistant's
    last_reply: str  # the same in the turn that is being answered
    closing: str  # after the assistant's message
    trims_user: bool  # whether white space around a message is dropped
    trims_assistant: bool

    @property
    def control(self) -> str:
        """Everything that is not a message."""
        return self.start + self.opening + self.reply + self.last_reply + self.closing


def chat_form(tokenizer: Any) -> ChatForm:
    """The form that the tokenizer's template gives.

    Raises:
        EvoError: it has no template, or one whose turns cannot be told apart.
    """
    rendered = _rendered(tokenizer, MARKS)
    parts, rest = [], rendered
    for mark in MARKS:
        part, found, rest = rest.partition(mark)
        if not found:
            raise _unusable(tokenizer, "leaves messages out")
        parts.append(part)
    before, reply, after_first, reply_again, after_second, last_reply = parts
    closing = rest
    if reply != reply_again or after_first != after_second or not after_first.startswith(closing):
        raise _unusable(tokenizer, "renders a turn differently when another follows")
    opening = after_first.removeprefix(closing)
    bos = tokenizer.bos_token or ""
    padded = _rendered(tokenizer, [f"\t{mark}\t" for mark in MARKS])
    return ChatForm(
        # SmolLM2 names <|im_start|> as its BOS, which opens every message
        start=bos if bos and before.startswith(bos) and not opening.startswith(bos) else "",
        opening=opening,
        reply=reply,
        last_reply=last_reply,
        closing=closing,
        trims_user=f"\t{MARKS[2]}\t" not in padded,
        trims_assistant=f"\t{MARKS[3]}\t" not in padded,
    )


def _rendered(tokenizer: Any, contents: list[str]) -> str:
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
    try:
        with _bounded():
            rendered: str = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as error:  # a template is a program, in a sandbox, and may fail in any way
        raise EvoError(
            f"tokenizer '{tokenizer.name_or_path}' has no usable chat template, which the memory pass reads; "
            "nothing was tokenised; choose an instruction-tuned backbone"
        ) from error
    return rendered


@contextmanager
def _bounded() -> Iterator[None]:
    """Hold a template to `STEPS` lines and `MEMORY` more bytes: Jinja's sandbox keeps it from everything else."""
    left, before = STEPS, sys.gettrace()

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != COMPILED:
            return None
        left -= 1
        if left < 0:
            raise ValueError(f"it takes more than {STEPS:,} steps")
        return count

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = Path("/proc/self/statm")  # Linux alone tells it
    most = int(taken.read_text().split()[0]) * resource.getpagesize() + MEMORY if taken.exists() else soft
    sys.settrace(count)
    try:
        if soft == resource.RLIM_INFINITY or most < soft:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        yield
    finally:
        sys.settrace(before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _unusable(tokenizer: Any, why: str) -> EvoError:
    return EvoError(
        f"the chat template of '{tokenizer.name_or_path}' {why}; nothing was tokenised; choose another backbone"
    )
