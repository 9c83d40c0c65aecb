"""Memories: the typed statements that a teacher finds worth remembering of another context, a segment each."""

from __future__ import annotations

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Segment
from evoembedding.synth.contexts.lengths import cut
from evoembedding.synth.contexts.row import context_row
from evoembedding.synth.contexts.web import NoContextError
from evoembedding.synth.prompts.answers import Statements
from evoembedding.synth.teachers.asking import Asker, together

VERSION = "memory-1"


async def memory(asker: Asker, config: TeachingConfig, source: Context, fingerprint: str) -> Context:
    """The statements of `source`, in its order, each as `kind: text`.

    Raises:
        NotAnsweredError: a part of it was not answered.
        NoContextError: it holds fewer than two statements.
    """
    size = config.memory.segments_a_call
    parts = [source.segments[start : start + size] for start in range(0, len(source.segments), size)]
    answered = await together(
        [asker.ask(asker.writer, "contexts", "statements", Statements, segments=part) for part in parts]
    )
    found = [Segment(user=f"{s.kind}: {s.text}") for part in answered for s in part.value.statements]
    segments = cut(found, config.lengths) if found else ()
    if len(segments) < 2:
        raise NoContextError(f"{len(segments)} statements were found in {len(source.segments)} segments")
    return context_row(
        "memory",
        asker.model(asker.writer),
        segments,
        fingerprint,
        seed=source.seed,
        document_ids=source.document_ids,
        source_ids=(source.context_id,),
        calls=tuple(call for part in answered for call in part.calls),
        origin={"source": source.context_id},
    )
