"""Memories: the typed statements that a teacher finds worth remembering of another context, a segment each."""

from __future__ import annotations

from evoembedding.schemas.configs import TeachingConfig
from evoembedding.schemas.episode import Context, Segment
from evoembedding.schemas.ids import content_id
from evoembedding.synth.contexts.lengths import cut
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
    generator = asker.model(asker.writer)
    content = {
        "segments": [[s.user, s.assistant] for s in segments],
        "kind": "memory",
        "generator": generator,
        "split": "train",
        # Two sources may give the same statements, and stay two contexts.
        "source": source.context_id,
    }
    return Context(
        context_id=content_id("ctx", content),
        kind="memory",
        generator=generator,
        split="train",
        seed=source.seed,
        document_ids=source.document_ids,
        segments=segments,
        fingerprint=fingerprint,
        source_ids=(source.context_id,),
        calls=tuple(call for part in answered for call in part.calls),
    )
