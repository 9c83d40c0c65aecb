"""Doctor and expiry where the warehouse lies in PostgreSQL and S3, and what ids certify of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.dataset import DocumentSource
from evoembedding.schemas.episode import Context, Document, Evidence, Question, Segment
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.moments import now
from evoembedding.warehouse.backend import DATA_URL
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, members_digest, publish
from evoembedding.warehouse.upkeep.content_ids import changed_rows
from evoembedding.warehouse.upkeep.doctor import examine
from evoembedding.warehouse.upkeep.retention import expire
from tests.warehouse.world import make_partition


@pytest.mark.slow
def test_servers_are_examined_and_expired_like_a_folder(
    tmp_path: Path, served: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = served()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append_all(make_partition(0, 30))
        publish(warehouse, "d", "{}", None, EpisodeFilter())
        kept = publish(warehouse, "d", "{}", None, EpisodeFilter(generators=("cloze",)))
        assert list(examine(tmp_path, "weights", deep=True)) == []
        said = expire(warehouse, ["d@1"], forget_past=True)
        done = expire(warehouse, ["d@1"], forget_past=True, dry=False)
        assert said.rows == done.rows
        assert done.rows["contexts"] == 15
        assert done.reclaimed.files > 0
        assert members_digest(warehouse, kept.dataset_id) == (kept.digest, 15)
    assert list(examine(tmp_path, "weights", deep=True)) == []
    bucket = boto3.resource("s3").Bucket(urlsplit(environment[DATA_URL]).netloc)
    known = max(bucket.objects.all(), key=lambda one: one.size)
    body = known.get()["Body"].read()
    stray = known.key.rpartition("/")[0] + "/ducklake-stray.parquet"
    bucket.put_object(Key=stray, Body=body)
    (orphan,) = examine(tmp_path, "weights")
    assert (orphan.kind, orphan.name) == ("orphan", "ducklake-stray.parquet")
    (removed,) = examine(tmp_path, "weights", remove_orphans=True, older_than=0)
    assert (removed.kind, removed.name) == ("removed", "ducklake-stray.parquet")
    known.delete()
    assert "data file" in {f.what for f in examine(tmp_path, "weights") if f.kind == "damaged"}
    bucket.put_object(Key=known.key, Body=body)
    assert list(examine(tmp_path, "weights", deep=True)) == []


def test_sources_name_documents_that_are_there(tmp_path: Path) -> None:
    names = {"source_id": "a.txt", "title": "a.txt", "uri": "", "license": ""}
    there, gone = (
        Document(document_id=content_id("doc", {"title": "a.txt", "text": text}), text=text, **names)
        for text in ("The ferry leaves at nine.\n", "It leaves at ten.\n")
    )
    with Warehouse.open(tmp_path) as warehouse:
        sources = to_frame(DocumentSource, [source(there.document_id)])
        warehouse.append_all({"documents": to_frame(Document, [there]), "document_sources": sources})
        assert list(examine(tmp_path, "weights", deep=True)) == []
        replaced = source(there.document_id, 2, successor=gone.document_id)
        warehouse.append_all({"document_sources": to_frame(DocumentSource, [replaced])})
    (found,) = examine(tmp_path, "weights")
    assert (found.kind, found.name) == ("damaged", "sources' documents that are not there")
    assert f"1 sources' documents that are not there, such as {gone.document_id}" in found.says


def source(document_id: str, sequence: int = 1, successor: str = "") -> DocumentSource:
    return DocumentSource(
        source="notes",
        file="a.txt",
        source_id="a.txt",
        document_id=document_id,
        sequence=sequence,
        state="replaced" if successor else "present",
        successor=successor,
        created_at=now(),
    )


def context(kind: str, said: str, document_ids: tuple[str, ...] = (), source_ids: tuple[str, ...] = ()) -> Context:
    content = {"segments": [[said, ""]], "kind": kind, "generator": "g", "split": "train"}
    content |= {"document_id": document_ids[0]} if kind == "web" else {}
    content |= {"source": source_ids[0]} if kind == "memory" else {}
    return Context(
        context_id=content_id("ctx", content),
        kind=kind,  # type: ignore[arg-type]
        generator="g",
        split="train",
        seed=0,
        document_ids=document_ids,
        segments=(Segment(user=said),),
        fingerprint="fp",
        source_ids=source_ids,
    )


def test_ids_certify_rows_of_every_kind_and_nothing_else(tmp_path: Path) -> None:
    good = [
        context("dialogue", "said"),
        context("web", "read é\n", ("doc-1", "doc-2")),
        context("memory", "kept", ("doc-1",), ("ctx-1",)),
        context("dialogue", "as others name it").model_copy(update={"context_id": "their-7"}),
    ]
    changed = [
        context("dialogue", "said before").model_copy(update={"segments": (Segment(user="said Before"),)}),
        context("web", "of one", ("doc-1",)).model_copy(update={"document_ids": ()}),
    ]
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.append("contexts", to_frame(Context, [*good, *changed]))
        assert set(changed_rows(warehouse, "contexts")) == {one.context_id for one in changed}


def test_imported_questions_are_certified_with_their_evidence(tmp_path: Path) -> None:
    asked = {"context_id": "ctx-1", "question": "Who?", "answer": "She"}
    identity = content_id("q", {"generator": "import", **asked, "evidence": (1, 2)})
    question = Question(
        question_id=identity, context_id="ctx-1", question_type="unknown", family="unknown", text="Who?", answer="She",
        generator="theirs", fingerprint="fp",
    )  # fmt: skip
    evidence = Evidence(question_id=identity, indices=(1, 2), votes=(1, 1), generator="theirs", fingerprint="fp")
    other = question.model_copy(update={"question_id": content_id("q", {"generator": "import", **asked})})
    with Warehouse.open(tmp_path) as warehouse:
        rows = {"questions": to_frame(Question, [question, other]), "evidence": to_frame(Evidence, [evidence])}
        warehouse.append_all(rows)
        assert list(changed_rows(warehouse, "questions")) == [other.question_id]
