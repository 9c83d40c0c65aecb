"""Ingest knows its source: what is new, changed, gone, as it was, or withdrawn; versions use what sources hold now."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.ingest import Ingested, ingest_source
from evoembedding.flows.pending import pending_sources
from evoembedding.flows.recipes import recipe
from evoembedding.flows.synthesize import draft_partition
from evoembedding.flows.teaching.teach import all_items
from evoembedding.schemas.errors import EvoError
from evoembedding.synth import cloze
from evoembedding.synth.generators import Offline
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.diff import diff
from evoembedding.warehouse.datasets.versions import EpisodeFilter, episodes_of, list_versions, publish
from evoembedding.warehouse.documents.sync import source_name
from evoembedding.warehouse.lineage.impact import impact
from evoembedding.warehouse.lineage.withdrawal import withdraw

NAMES = ("Maro", "Vela", "Orrin", "Teska", "Juniper", "Fenwick", "Sorrel", "Pell", "Quillon", "Dunmere")
CLOZE = recipe("demo").cloze


def page(number: int, edit: str = "") -> str:
    drawn = random.Random(number)
    lines = [
        f"{drawn.choice(NAMES)} led the ship of {drawn.choice(NAMES)} on day {n * 100 + number}." for n in range(20)
    ]
    return f"Page {number}\n\n" + " ".join([*lines[:10], *([edit] if edit else []), *lines[10:]]) + "\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Three pages in a folder."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(3):
        (folder / f"p{number}.txt").write_text(page(number))
    return folder


def take_in(home: Path, source: Path, **options: Any) -> Ingested:
    return ingest_source.fn(home, str(source), **options)


def counts(done: Ingested) -> tuple[int, ...]:
    return (done.new, done.changed, done.gone, done.unchanged)


def used(home: Path) -> set[str]:
    """Texts that a new version is made from: what was pending is worked on, then published."""
    assert CLOZE
    with Warehouse.open(home) as warehouse:
        todo = pending_sources(warehouse, Offline.of(cloze.generator, CLOZE))
    draft_partition.fn(home, "cloze", CLOZE, todo, "cloze")
    with Warehouse.open(home) as warehouse:
        version = publish(warehouse, "pages", "{}", None, EpisodeFilter())
        rows = warehouse.query(
            """SELECT DISTINCT d.text FROM dataset_members m JOIN episodes e USING (episode_id)
               JOIN contexts c USING (context_id) JOIN documents d ON list_contains(c.document_ids, d.document_id)
               WHERE m.dataset_id = ?""",
            (version.dataset_id,),
        )
    return set(rows["text"])


def document(home: Path, text: str) -> str:
    with Warehouse.open(home) as warehouse:
        return str(warehouse.query("SELECT document_id FROM documents WHERE text = ?", (text,)).item())


def test_an_edited_document_replaces_what_it_was_and_old_versions_keep_that(home: Path, pages: Path) -> None:
    assert counts(take_in(home, pages)) == (3, 0, 0, 0)
    assert used(home) == {page(0), page(1), page(2)}
    (pages / "p1.txt").write_text(page(1, "Corrected."))
    assert counts(take_in(home, pages)) == (0, 1, 0, 2)
    assert counts(take_in(home, pages)) == (0, 0, 0, 3)
    assert used(home) == {page(0), page(1, "Corrected."), page(2)}
    old, new = document(home, page(1)), document(home, page(1, "Corrected."))
    with Warehouse.open(home) as warehouse:
        first, second = list_versions(warehouse)
        assert len(episodes_of(warehouse, first.dataset_id)) == first.episodes
        assert impact(warehouse, old).facts["replaced"].endswith(f" by {new}")
        assert "replaced" not in impact(warehouse, new).facts
        whys = {change.why for change in diff(warehouse, first, second).changes if change.change == "went"}
    assert whys == {"a document that it was made from was replaced or is gone"}


def test_edited_back_is_used_again(home: Path, pages: Path) -> None:
    take_in(home, pages)
    (pages / "p1.txt").write_text(page(1, "Wrong."))
    take_in(home, pages)
    (pages / "p1.txt").write_text(page(1))
    assert counts(take_in(home, pages)) == (0, 1, 0, 2)
    assert used(home) == {page(0), page(1), page(2)}


def test_what_is_gone_is_told_by_sync_alone_and_can_come_back(home: Path, pages: Path) -> None:
    take_in(home, pages)
    (pages / "p2.txt").unlink()
    assert counts(take_in(home, pages)) == (0, 0, 0, 2)
    assert used(home) == {page(0), page(1), page(2)}
    assert counts(take_in(home, pages, sync=True)) == (0, 0, 1, 2)
    assert used(home) == {page(0), page(1)}
    with Warehouse.open(home) as warehouse:
        assert "gone" in impact(warehouse, document(home, page(2))).facts
    (pages / "p9.txt").write_text(page(2))  # under another name
    assert counts(take_in(home, pages, sync=True)) == (1, 0, 0, 2)
    assert used(home) == {page(0), page(1), page(2)}
    (pages / "p9.txt").rename(pages / "p8.txt")
    assert counts(take_in(home, pages, sync=True)) == (0, 0, 0, 3)


def test_what_could_not_be_read_is_not_gone(home: Path, pages: Path) -> None:
    (pages / "rows.jsonl").write_text("".join(json.dumps({"id": n, "text": page(n)}) + "\n" for n in (7, 8)))
    take_in(home, pages)
    (pages / "p0.txt").write_bytes(b"\xff\xfe")
    (pages / "p1.txt").unlink()
    (pages / "rows.jsonl").write_text(json.dumps({"id": 7, "text": page(7)}) + "\n{\n")
    done = take_in(home, pages, sync=True)
    assert [failed.item for failed in done.failures] == ["p0.txt", "rows.jsonl:2"]
    assert counts(done) == (0, 0, 1, 2)
    assert used(home) == {page(n) for n in (0, 2, 7, 8)}


def test_a_file_alone_is_a_part_of_its_folder(home: Path, pages: Path) -> None:
    take_in(home, pages)
    (pages / "p1.txt").write_text(page(1, "Corrected."))
    assert counts(take_in(home, pages / "p1.txt", sync=True)) == (0, 1, 0, 0)
    assert counts(take_in(home, pages)) == (0, 0, 0, 3)
    assert used(home) == {page(0), page(1, "Corrected."), page(2)}


def test_lines_that_move_replace_nothing(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    rows = [json.dumps({"title": str(n), "text": page(n)}) for n in range(3)]
    file.write_text("\n".join(rows))
    take_in(home, file)
    file.write_text("\n".join([json.dumps({"title": "9", "text": page(9)}), *rows]))
    take_in(home, file, sync=True)
    assert used(home) == {page(n) for n in (0, 1, 2, 9)}


def test_the_same_id_twice_in_a_file_keeps_both(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text("".join(json.dumps({"id": "one", "text": page(n)}) + "\n" for n in range(2)))
    assert counts(take_in(home, file)) == (2, 0, 0, 0)
    assert counts(take_in(home, file)) == (0, 0, 0, 2)
    assert used(home) == {page(0), page(1)}


def test_a_corrected_copy_elsewhere_replaces_and_another_text_of_the_name_does_not(
    home: Path, pages: Path, tmp_path: Path
) -> None:
    take_in(home, pages)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "p0.txt").write_text(page(0, "Corrected."))
    (copy / "p1.txt").write_text(page(5))
    done = take_in(home, copy)
    assert (*counts(done), done.namesakes) == (1, 1, 0, 0, 1)
    assert used(home) == {page(0, "Corrected."), page(1), page(5), page(2)}
    assert counts(take_in(home, copy)) == (0, 0, 0, 2)


def test_a_source_keeps_its_name_where_it_moves_with_the_home_or_is_told(
    home: Path, pages: Path, tmp_path: Path
) -> None:
    take_in(home, pages)
    assert source_name(home, str(pages)) == source_name(home, str(pages / "p0.txt")) == "pages"
    outside = source_name(tmp_path / "a" / "b", str(pages))
    assert str(tmp_path) not in outside
    assert outside.startswith("pages-")
    moved = pages.rename(tmp_path / "moved")
    (moved / "p0.txt").unlink()
    assert counts(take_in(home, moved, name="pages", sync=True)) == (0, 0, 1, 2)


def test_teachers_are_asked_about_what_sources_hold(home: Path, pages: Path) -> None:
    teaching = recipe("taught").teaching
    assert teaching
    config = teaching.replace(web=teaching.web.replace(documents=10), dialogue=teaching.dialogue.replace(personas=0))
    take_in(home, pages)
    (pages / "p1.txt").write_text(page(1, "Corrected."))
    (pages / "p2.txt").unlink()
    take_in(home, pages, sync=True)
    with Warehouse.open(home) as warehouse:
        sources = {item.source for item in all_items(warehouse, config) if item.kind == "web"}
    assert sources == {document(home, page(0)), document(home, page(1, "Corrected."))}


def test_a_withdrawn_text_does_not_return_in_another_form(home: Path, tmp_path: Path) -> None:
    text = page(1, "The café of Teska serves ﬁsh; its owner is 港口.")
    first = tmp_path / "first.md"
    first.write_text(text)
    take_in(home, first)
    gone = document(home, text)
    with Warehouse.open(home) as warehouse:
        withdraw(warehouse, gone, "", "someone", "")
    forms = {
        "as-it-was.md": text,
        "crlf.md": text.replace("\n", "\r\n"),
        "bom.md": "\ufeff" + text,
        "spaces.md": text.replace(" ", "  \n").replace("\n\n", "\n \n\n"),
        "nfd.md": unicodedata.normalize("NFD", text),
        "nfkc.md": unicodedata.normalize("NFKC", text),
        "hidden.md": text.replace("ship", "sh\u00adip"),
        "title.md": f"---\ntitle: Another\n---\n\n{text}",
        "row.jsonl": json.dumps({"title": "Another", "text": text}),
    }
    again = tmp_path / "again"
    again.mkdir()
    for name, form in forms.items():
        (again / name).write_text(form, newline="")
    done = take_in(home, again)
    assert (done.new, done.changed, done.withdrawn) == (0, 0, (gone,))
    assert {failed.reason for failed in done.failures} == {f"its text is that of {gone}, which was withdrawn"}
    assert len(done.failures) + done.read == len(forms)
    assert CLOZE
    with Warehouse.open(home) as warehouse:
        assert pending_sources(warehouse, Offline.of(cloze.generator, CLOZE)) == []


def test_a_licence_that_comes_later_is_kept(home: Path, pages: Path) -> None:
    take_in(home, pages)
    take_in(home, pages, license="CC-BY-4.0")
    take_in(home, pages, license="MIT")
    with Warehouse.open(home) as warehouse:
        assert warehouse.query("SELECT DISTINCT license FROM documents")["license"].to_list() == ["CC-BY-4.0"]


def test_a_folder_that_holds_nothing_is_refused_rather_than_taken_as_gone(home: Path, pages: Path) -> None:
    take_in(home, pages)
    for file in pages.iterdir():
        file.unlink()
    with pytest.raises(EvoError, match="nothing would be ingested"):
        take_in(home, pages, sync=True)
