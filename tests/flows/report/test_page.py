"""The report page: what it shows, what it leaves out with a sentence, that nothing in it can act or load."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evoembedding.flows.report.page import write_report
from evoembedding.flows.synthesize import commit_drafts
from evoembedding.schemas.arrow import to_frame
from evoembedding.schemas.configs import SimulatorConfig
from evoembedding.schemas.episode import Context, Episode, Question, Segment
from evoembedding.schemas.errors import EvoError
from evoembedding.synth import simulator
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import EpisodeFilter, publish

SECTIONS = ["lineage", "funnel", "shape", "samples", "sources", "repeat"]


class Reader(HTMLParser):
    """Collects the elements, their attributes and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._style = tag == "style"
        self.text += " "

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def pages(world) -> dict[str, str]:  # type: ignore[no-untyped-def]
    """The HTML of the dataset version, of the scored model, and of the one without files or scores."""
    names = [world.version.label, world.model_id, "model-bare"]
    return {name: write_report(world.warehouse, world.home, name).read_text(encoding="utf-8") for name in names}


@pytest.fixture(params=["small@1", "model-scored", "model-bare"])
def html(request: pytest.FixtureRequest, pages: dict[str, str]) -> str:
    return pages[request.param]


def test_it_can_load_nothing_and_run_nothing(html: str) -> None:
    page = Reader(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "image"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"src", "srcset", "data", "xlink:href", "background", "poster", "action"}
    assert not [name for name in names if name.startswith("on")]
    for tag, attributes in page.elements:
        if "href" in attributes:
            assert tag == "a"
            assert re.match(r"#[a-z]+$|https?://", attributes["href"])
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_words_are_shown_as_words(html: str) -> None:
    page = Reader(html)
    assert "<script>document.title='taken'</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "<script" not in html
    assert 'onerror="' not in html
    assert r"{{ 7*7 }}\u202e\x1b[31m" in page.text
    assert not {"\u202e", "\x1b"} & set(html)


def test_ids_are_unique_and_sections_are_there(html: str) -> None:
    ids = [attributes["id"] for _, attributes in Reader(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(SECTIONS) <= set(ids)
    links = {a["href"][1:] for tag, a in Reader(html).elements if tag == "a" and a["href"].startswith("#")}
    assert links == set(ids)


def test_writing_again_gives_the_same_bytes(world, tmp_path: Path, pages: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    with Warehouse.open(world.home) as again:
        for name, html in pages.items():
            assert write_report(again, world.home, name, tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_a_version_shows_its_funnel_samples_and_models(world, pages: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    words = Reader(pages["small@1"]).words
    episodes = world.version.episodes
    assert f"{episodes} episodes on 13 contexts" in words
    assert world.version.digest in words
    assert "0123abcd+dirty" in words
    assert "left out 1 near duplicate" in words
    assert "4 drafted" in words  # of the hostile generator
    assert "grounded evidence index outside n..n" in words
    assert "paper’s mean 21" in words
    assert "EvoTrain-180K: 184,137" in words
    assert "model-scored" in words
    assert "80.0 76.0–83.0" in words  # the headline with its interval
    assert "BM25 with stemming 30.0" in words
    assert "not scored yet" in words  # model-bare
    assert "Context of 60 segments, evidence in 7" in words
    assert "50 segments, 10 to 59" in words or "51 segments, 9 to 59" in words
    assert "and 11 more, which this page leaves out" in words
    assert "more characters" in words
    assert "<mark>Porto</mark>" in pages["small@1"]
    assert "evo synthesize recipe.json" in words
    assert "git checkout 0123abcd" in words
    assert "not committed" in words


def test_a_model_shows_its_curves_and_scores(pages: dict[str, str]) -> None:
    page = Reader(pages["model-scored"])
    assert "2 lines of metrics.jsonl could not be read" in page.words
    for title in ("Loss last 5.03", "Gradient norm", "Tokens per second"):
        assert title in page.words
    assert "Held-out simulated dialogues" not in page.words  # the stylesheet capitalises it
    assert "held-out simulated dialogues 900 questions · sim-1" in page.words
    assert "EvoEmbedding 80.0 76.0–83.0 80.0 76.0–83.0" in page.words
    assert "Recall@1 by question type" in page.words
    assert "500 questions: latest, first" in page.words
    assert "3 more question types" in page.words
    chain = ["model-scored", "run-scored", "shards-scored", "small@1", "simulator", "1 document"]
    assert all(name in page.words for name in chain)
    assert "evo train small@1 --recipe recipe.json" in page.words
    read, _ = json.JSONDecoder().raw_decode(page.words.split("The recipe ")[1])
    assert read["name"] == "smallest"


def test_a_model_without_files_or_scores_says_so(world, pages: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    words = Reader(pages["model-bare"]).words
    assert "This model has not been scored yet; evo evaluate model-bare does it." in words
    metrics = world.home / "runs" / "run-bare" / "metrics.jsonl"
    assert f"There are no training curves: {metrics} cannot be read (No such file or directory)." in words


def test_a_version_without_documents_questions_or_a_recipe_of_ours_says_so(tmp_path: Path) -> None:
    context = Context(
        context_id="ctx-1",
        kind="dialogue",
        generator="imported",
        split="train",
        seed=0,
        document_ids=(),
        segments=(Segment(user="Hello."),),
        fingerprint="",
    )
    episode = Episode(
        episode_id="ep-1",
        context_id="ctx-1",
        question_id="q-1",
        generator="imported",
        split="train",
        question_type="",
        family="",
        question="?",
        answer="",
        evidence=(),
        segments=1,
        fingerprint="",
    )
    with Warehouse.open(tmp_path) as warehouse:
        frames = {"contexts": to_frame(Context, [context]), "episodes": to_frame(Episode, [episode])}
        warehouse.append_all(frames | {"questions": to_frame(Question, [])})
        publish(warehouse, "bare", "not JSON", None, EpisodeFilter())
        path = write_report(warehouse, tmp_path, "bare")
    assert path == tmp_path / "reports" / "bare@1.html"
    words = Reader(path.read_text(encoding="utf-8")).words
    assert "No document went into this version" in words
    assert "No model has been trained on this version yet" in words
    assert "was not made by a recipe of this code" in words
    assert "not JSON" in words
    assert "git commit not recorded" in words
    assert "1 drafted" in words


def test_a_version_whose_episodes_are_gone_is_still_told_of(tmp_path: Path) -> None:
    with Warehouse.open(tmp_path) as warehouse:
        commit_drafts(warehouse, simulator.simulate(SimulatorConfig(contexts=2), 0, 2))
        version = publish(warehouse, "gone", "{}", None, EpisodeFilter())
        for table in ("dataset_members", "episodes", "questions", "verdicts", "contexts"):
            warehouse.transaction(lambda con, table=table: con.execute(f"DELETE FROM lake.{table}"))  # type: ignore[misc]
        path = write_report(warehouse, tmp_path, version.dataset_id)
    words = Reader(path.read_text(encoding="utf-8")).words
    assert f"An immutable set of {version.episodes} episodes, published" in words
    assert "holds no episode of this version any more, so its lengths and types cannot be counted" in words
    assert "holds no episode of this version any more, so none can be shown" in words
    assert "Nothing is known of the questions" in words


def test_mistakes_are_one_sentence(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("model-none", "none@1", "' OR 1=1 --", "ep-hostile-0"):
        with pytest.raises(EvoError, match="no report was written; try one of: small@1"):
            write_report(world.warehouse, world.home, name)
    with pytest.raises(EvoError, match=r"unknown dataset 'small@9'"):
        write_report(world.warehouse, world.home, "small@9")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "report.html", tmp_path):
        with pytest.raises(EvoError, match="cannot be written"):
            write_report(world.warehouse, world.home, "small@1", place)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    with Warehouse.open(tmp_path / "new") as empty, pytest.raises(EvoError, match="holds neither yet"):
        write_report(empty, tmp_path, "x")
