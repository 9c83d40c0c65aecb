"""A small world of documents, contexts and episodes, and a tokenizer that needs no model."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import Evaluation, ModelRecord, TrainingRun
from evoembedding.schemas.episode import Context, Document, Episode, Evidence, Question, Segment, Verdict
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.warehouse.catalog import Warehouse
from tests.records import score, teacher_call, trained_model, training_run


class WordTokenizer:
    """One token a word, by checksum."""

    digest = "words-1"

    def memory(self, segments: Sequence[Segment]) -> list[list[int]]:
        return [self._words(s.text) for s in segments]

    def retriever(self, segments: Sequence[Segment]) -> list[list[int]]:
        return [[*self._words(s.text), 0] for s in segments]

    def queries(self, texts: Sequence[str]) -> list[list[int]]:
        return [[*self._words(t), 0] for t in texts]

    def answers(self, questions: Sequence[str], answers: Sequence[str]) -> list[tuple[list[int], list[int], list[int]]]:
        return [([1], self._words(q), [*self._words(a), 0]) for q, a in zip(questions, answers, strict=True)]

    def _words(self, text: str) -> list[int]:
        return [zlib.crc32(w.encode()) % 5000 for w in text.split()]


@contextmanager
def opened_copy(made: Path, home: Path) -> Iterator[Warehouse]:
    """The warehouse of a state folder's copy, which a test may change."""
    shutil.copytree(made, home)
    with Warehouse.open(home) as opened:
        yield opened


def make_partition(start: int, stop: int) -> dict[str, pl.DataFrame]:
    """Contexts `start` to `stop`, two questions each: the first accepted, the second rejected."""
    contexts, questions, evidence, verdicts, episodes = [], [], [], [], []
    for n in range(start, stop):
        generator = "cloze" if n % 2 else "simulator"
        segments = tuple(Segment(user="word " * (1 + (n * 7 + i) % 5)) for i in range(2 + n * 5 % 4))
        contexts.append(
            Context(
                context_id=f"ctx-{n:04d}",
                kind="web" if n % 2 else "dialogue",
                generator=generator,
                split="train",
                seed=n,
                document_ids=(f"doc-{n:04d}",) if n % 2 else (),
                segments=segments,
                fingerprint="fp",
            )
        )
        for k in range(2):
            q = f"q-{n:04d}-{k}"
            questions.append(
                Question(
                    question_id=q,
                    context_id=f"ctx-{n:04d}",
                    question_type="recall",
                    family="f",
                    text=f"What is {n}?",
                    answer=str(n),
                    generator=generator,
                    fingerprint="fp",
                )
            )
            evidence.append(Evidence(question_id=q, indices=(0,), votes=(1,), generator=generator, fingerprint="fp"))
            verdicts.append(
                Verdict(
                    question_id=q,
                    check_name="unique",
                    passed=k == 0,
                    reason="" if k == 0 else "duplicate",
                    fingerprint="fp",
                )
            )
        episodes.append(
            Episode(
                episode_id=f"ep-{n:04d}",
                context_id=f"ctx-{n:04d}",
                question_id=f"q-{n:04d}-0",
                generator=generator,
                split="train",
                question_type="recall",
                family="f",
                question=f"What is {n}?",
                answer=str(n),
                evidence=(0,),
                segments=len(segments),
                fingerprint="fp",
            )
        )
    return {
        "contexts": to_frame(Context, contexts),
        "questions": to_frame(Question, questions),
        "evidence": to_frame(Evidence, evidence),
        "verdicts": to_frame(Verdict, verdicts),
        "episodes": to_frame(Episode, episodes),
    }


def make_documents(count: int) -> pl.DataFrame:
    rows = [
        Document(
            document_id=f"doc-{n:04d}",
            source_id=f"pep-{n:04d}",
            title=f"Title {n}",
            uri=f"https://example.org/{n}",
            license="CC0",
            text=f"Text {n}",
        )
        for n in range(count)
    ]
    return to_frame(Document, rows)


def add_model(warehouse: Warehouse, shard_set_id: str) -> None:
    """A run, its model and a score over a shard set."""
    run, model = training_run("1", shard_set_id), trained_model("1")
    warehouse.append_all(
        {
            "training_runs": to_frame(TrainingRun, [run]),
            "models": to_frame(ModelRecord, [model]),
            "evaluations": to_frame(Evaluation, [score("model-1")]),
        }
    )


def make_taught(
    name: str, model: str = "large", documents: Sequence[str] = (), sources: Sequence[str] = ()
) -> dict[str, pl.DataFrame]:
    """`ctx-NAME` with one episode, made by a teacher in seven calls: `call-NAME-context`, `-question`, `-vote-0` to
    `-vote-2`, `-grounded` and `-closed_book`.
    """
    context, question, episode = f"ctx-{name}", f"q-{name}", f"ep-{name}"
    segments = (Segment(user="a"), Segment(user="b"))
    votes = tuple(f"call-{name}-vote-{n}" for n in range(3))
    made = Context(
        context_id=context,
        kind="memory" if sources else "web" if documents else "dialogue",
        generator=model,
        split="train",
        seed=0,
        document_ids=tuple(documents),
        segments=segments,
        fingerprint="fp-contexts",
        source_ids=tuple(sources),
        calls=(f"call-{name}-context",),
    )
    asked = Question(
        question_id=question,
        context_id=context,
        question_type="recall",
        family="f",
        text="Where?",
        answer="there",
        generator=model,
        fingerprint="fp-questions",
        calls=(f"call-{name}-question",),
    )
    found = Evidence(
        question_id=question,
        indices=(0, 1),
        votes=(3, 2),
        generator=model,
        fingerprint="fp-evidence",
        voters=3,
        calls=votes,
    )
    checks = [
        Verdict(
            question_id=question,
            check_name=check,
            passed=True,
            reason="",
            fingerprint="fp-verify",
            score=score,
            calls=(f"call-{name}-{check}",),
        )
        for check, score in (("grounded", 0.75), ("closed_book", 0.0))
    ]
    last = Verdict(
        question_id=question, check_name="all", passed=True, reason="", fingerprint="fp-verify", episode_id=episode
    )
    kept = Episode(
        episode_id=episode,
        context_id=context,
        question_id=question,
        generator=model,
        split="train",
        question_type="recall",
        family="f",
        question="Where?",
        answer="there",
        evidence=(0, 1),
        segments=2,
        fingerprint="fp-verify",
    )
    stages = [(made.calls, "contexts"), (asked.calls, "questions"), (votes, "evidence")]
    stages += [(check.calls, "verify") for check in checks]
    calls = [teacher_call(call, model, stage=stage) for several, stage in stages for call in several]
    return {
        "contexts": to_frame(Context, [made]),
        "questions": to_frame(Question, [asked]),
        "evidence": to_frame(Evidence, [found]),
        "verdicts": to_frame(Verdict, [*checks, last]),
        "episodes": to_frame(Episode, [kept]),
        "teacher_calls": to_frame(TeacherCall, calls),
    }
