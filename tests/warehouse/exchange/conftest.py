"""Episodes with whatever texts a test thinks of, in a warehouse of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DatasetVersion, StageFingerprint
from evoembedding.schemas.episode import Context, Document, Episode, Evidence, Question, Segment, Verdict
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.teacher import TeacherCall
from evoembedding.synth.verification import episode
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish
from tests.records import NOW, teacher_call

# What an export hands on, with the columns that it leaves out or cannot know.
TABLES = {
    "contexts": (),
    "questions": (),
    "evidence": (),
    "verdicts": (),
    "episodes": (),
    "documents": ("text",),
    "teacher_calls": ("content", "endpoint"),
    "fingerprints": (),
}


# A context's segments, and its questions with answer and evidence.
Told = tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str, tuple[int, ...]]]]


def fill(warehouse: Warehouse, told: Iterable[Told]) -> None:
    """Store episodes, every third context a document's, every other question checked by a teacher."""
    rows: dict[str, list[object]] = {name: [] for name in TABLES}
    for n, (said, asked) in enumerate(told):
        segments = tuple(Segment(user=user, assistant=assistant) for user, assistant in said)
        kind = ("web", "dialogue", "memory")[n % 3]
        document = Document(
            document_id=f"doc-{n}", source_id=f"a'{n}", title="T\n|x", uri="", license="CC-BY-4.0", text="all of it"
        )
        context = Context(
            context_id=content_id("ctx", [n, said]),
            kind=kind,  # type: ignore[arg-type]
            generator="web" if n % 3 else "teacher-x",
            split="train",
            seed=n,
            document_ids=() if kind == "dialogue" else (document.document_id,),
            segments=segments,
            fingerprint="fp-context",
            source_ids=("ctx-elsewhere",) if kind == "memory" else (),
            calls=("call-1",) if n % 2 else (),
        )
        rows["contexts"].append(context)
        rows["documents"] += [document] if context.document_ids else []
        for k, (text, answer, evidence) in enumerate(asked):
            _add_question(rows, context, k, text, answer, evidence)
    rows["teacher_calls"].append(
        teacher_call("call-1", "m", stage="verify", endpoint="http://10.0.0.7:8000/v1", content="an answer")
    )
    rows["fingerprints"] += [
        StageFingerprint(
            fingerprint=mark,
            stage="verify",
            kind="web",
            scope="r",
            components='{"a":1}',
            created_at=NOW,
            before="fp-question" if mark == "fp-check" else "",
        )
        for mark in ("fp-check", "fp-of-another-version")
    ]
    records = {
        "contexts": Context,
        "questions": Question,
        "evidence": Evidence,
        "verdicts": Verdict,
        "episodes": Episode,
        "documents": Document,
        "teacher_calls": TeacherCall,
        "fingerprints": StageFingerprint,
    }
    warehouse.append_all({name: to_frame(records[name], found) for name, found in rows.items()})  # type: ignore[arg-type]


def _add_question(
    rows: dict[str, list[object]], context: Context, k: int, text: str, answer: str, indices: tuple[int, ...]
) -> None:
    question = Question(
        question_id=content_id("q", [context.context_id, k, text, answer]),
        context_id=context.context_id,
        question_type="latest",
        family="temporal",
        text=text,
        answer=answer,
        generator="teacher-x",
        fingerprint="fp-question",
        reasoning=text if k else "",
        calls=("call-1", "call-gone"),
    )
    evidence = Evidence(
        question_id=question.question_id,
        indices=indices,
        votes=(2,) * len(indices),
        voters=3,
        generator="teacher-x",
        fingerprint="fp-evidence",
    )
    one = episode(context, question, evidence, "fp-question")
    checks = [
        Verdict(
            question_id=question.question_id, check_name=check, passed=True, reason="", fingerprint="fp-check", **more
        )
        for check, more in (("grounded", {"score": 0.5 + k / 10}), ("all", {"episode_id": one.episode_id}))
    ]
    rows["questions"].append(question)
    rows["evidence"].append(evidence)
    rows["verdicts"] += checks
    rows["episodes"].append(one)


def stored(warehouse: Warehouse, table: str) -> pl.DataFrame:
    """The rows of a table that came by an export or go by one, in an order of their own."""
    rows = warehouse.query(f"SELECT * FROM lake.{table}").drop(TABLES[table])
    if table == "verdicts":
        rows = rows.filter(~pl.col("fingerprint").str.starts_with("import-"))
    if table == "fingerprints":
        rows = rows.filter(pl.col("fingerprint") != "fp-of-another-version")
    return rows.sort(*[name for name, kind in rows.schema.items() if kind == pl.String])


def published(home: Path, told: Iterable[Told], name: str = "odd") -> DatasetVersion:
    """A new state folder with these episodes as a version."""
    with Warehouse.open(home) as warehouse:
        fill(warehouse, told)
        return publish(
            warehouse, name, '{"name": "r", "teachers": [{"endpoints": ["http://10.0.0.7"]}]}', "abc", EpisodeFilter()
        )


def files(folder: Path) -> dict[str, bytes]:
    """The data files of an export, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("data", "lineage")
        for path in sorted((folder / part).iterdir())
    }


class World:
    """The functions above, for tests."""

    fill = staticmethod(fill)
    stored = staticmethod(stored)
    published = staticmethod(published)
    files = staticmethod(files)
    tables = TABLES


@pytest.fixture(scope="session")
def world() -> World:
    return World()
