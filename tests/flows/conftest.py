"""A teacher that knows the truth of what it wrote, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock

from evoembedding.schemas.episode import Segment
from evoembedding.synth.simulator.questions import _word, candidates
from evoembedding.synth.simulator.render import render
from evoembedding.synth.simulator.world import tell
from evoembedding.synth.text import normalise
from tests import warm

BEAT = re.compile(r"beat ([0-9a-f]+)/(\d+)/(\d+)")
NUMBERED = re.compile(r"^\[\d+\] ", re.M)
TERM = re.compile(r"\w{6,}")


class EventGraph:
    """What can be known from OpenLineage events alone: which data was made from which, through finished runs."""

    def __init__(self, events: Iterable[dict[str, Any]]) -> None:
        self.made_from: dict[str, set[str]] = defaultdict(set)
        for event in events:
            if event["eventType"] == "COMPLETE":
                for made in event["outputs"]:
                    self.made_from[f"{made['namespace']} {made['name']}"].update(
                        f"{read['namespace']} {read['name']}" for read in event["inputs"]
                    )

    def named(self, ending: str) -> str:
        """The one asset whose name ends so."""
        known = {*self.made_from, *(one for many in self.made_from.values() for one in many)}
        (found,) = [name for name in known if name.endswith(ending)]
        return found

    def sources(self, name: str) -> set[str]:
        """All that an asset came from, over any number of runs."""
        found: set[str] = set()
        todo = [name]
        while todo:
            new = self.made_from.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found


@pytest.fixture(scope="session")
def event_graph() -> type[EventGraph]:
    return EventGraph


class Truth(NamedTuple):
    """A question that it asked, the right answer, and the texts of the segments that hold it."""

    question: str
    answer: str
    evidence: frozenset[str]


@lru_cache(maxsize=4096)
def world(key: str, length: int) -> tuple[list[Segment], list[tuple[str, str, str, tuple[int, ...]]]]:
    """A simulated world: its segments, and all questions on it as (type, text, answer, evidence)."""
    rng = random.Random(key)
    beats = tell(rng, "train", length)
    rendered = [render(rng, "train", beat) for beat in beats]
    segments = [Segment(user=s.user, assistant=s.assistant or "I see.") for s in rendered]
    asked = [_word(rng, "train", kind, candidate) for kind, candidate in candidates(beats)]
    return segments, [(one.type, one.text, one.answer, one.evidence) for one in asked]


class TruthfulTeacher:
    """Answers the prompts of all stages: dialogues from simulated worlds, cloze questions on any other text."""

    def __init__(self) -> None:
        self.origin: dict[str, set[tuple[str, int]]] = {}  # segment text -> the worlds (key, length) that hold it
        self.known: dict[str, list[Truth]] = {}

    def __call__(self, messages: list[dict[str, str]]) -> str:
        system, user = messages[0]["content"], messages[1]["content"]
        for start, answer in (
            ("You plan", self.plan),
            ("You write realistic", self.turns),
            ("You keep a memory", self.statements),
            ("You write questions", self.question),
            ("You find the segments", self.evidence),
            ("You answer", self.answer),
            ("You check", self.supported),
            ("You compare", self.same),
        ):
            if system.startswith(start):
                return json.dumps(answer(user))
        raise AssertionError(system)

    def plan(self, user: str) -> dict[str, Any]:
        found = re.search(r"as (\d+) events", user)
        assert found is not None
        count, key = int(found[1]), f"{zlib.crc32(user.split('Plan what')[0].encode()):08x}"
        return {"events": [{"kind": "new", "what": f"beat {key}/{count}/{i}"} for i in range(count)]}

    def turns(self, user: str) -> dict[str, Any]:
        told = []
        for key, length, beat in BEAT.findall(user):
            segment = world(key, int(length))[0][int(beat)]
            self.origin.setdefault(segment.text, set()).add((key, int(length)))
            told.append({"user": segment.user, "assistant": segment.assistant})
        return {"turns": told}

    def statements(self, user: str) -> dict[str, Any]:
        found = []
        for text in plain_segments(user.split("The text:\n")[1]):
            found.append({"kind": "fact", "text": statement(text)})
            if text in self.origin:
                self.origin.setdefault(f"User: fact: {statement(text)}", set()).update(self.origin[text])
        return {"statements": found}

    def question(self, user: str) -> dict[str, Any]:
        body, asked = user.rsplit("\n\nWrite one question", 1)
        segments = numbered_segments(body)
        found = re.search(r'of the type "(\w+)"', asked)
        assert found is not None
        truth = self._of_world(segments, found[1]) or cloze(segments, found[1])
        self.known.setdefault(truth.question, []).append(truth)
        return {"reasoning": "as told", "question": truth.question, "answer": truth.answer}

    def _of_world(self, segments: list[str], kind: str) -> Truth | None:
        """The first question of that type, or of any, whose evidence is all shown; None on texts of no one world."""
        worlds = set.intersection(*(self.origin.get(text, set()) for text in segments))
        if not worlds:
            return None
        told, all_asked = world(*min(worlds))
        texts = [segment.text for segment in told]
        if segments[0].startswith("User: fact: "):
            texts = [f"User: fact: {statement(text)}" for text in texts]
        shown = set(segments)
        can = [one for one in all_asked if all(texts[i] in shown for i in one[3])]
        same = [one for one in can if one[0] == kind] or can
        if not same:
            return None
        _, text, answer, evidence = same[zlib.crc32(kind.encode()) % len(same)]
        return Truth(text, answer, frozenset(texts[i] for i in evidence))

    def evidence(self, user: str) -> dict[str, Any]:
        body, asked = user.rsplit("\n\nQuestion, put after", 1)
        segments = numbered_segments(body)
        question = asked.split("was read: ", 1)[1].split("\nAnswer: ")[0]
        truth = self._truth(question, segments)
        return {"reasoning": "there", "segments": [i for i, s in enumerate(segments) if truth and s in truth.evidence]}

    def answer(self, user: str) -> dict[str, Any]:
        body, question = user.rsplit("\n\nAnswer in a few words", 1)[0].rsplit("Question: ", 1)
        truth = self._truth(question, plain_segments(body))
        return {"answer": truth.answer if truth else "unknown"}

    def supported(self, user: str) -> dict[str, Any]:
        body, asked = user.rsplit("\n\nQuestion: ", 1)
        truth = self._truth(asked.split("\nAnswer: ")[0], plain_segments(body))
        return {"reasoning": "read", "verdict": truth is not None}

    def same(self, user: str) -> dict[str, Any]:
        first, second = (re.findall(rf"^{which} answer: (.*)$", user, re.M)[0] for which in ("First", "Second"))
        return {"reasoning": "compared", "verdict": normalise(first) == normalise(second)}

    def _truth(self, question: str, segments: list[str]) -> Truth | None:
        shown = set(segments)
        return next((t for t in self.known.get(question, ()) if t.evidence <= shown), None)


def statement(text: str) -> str:
    """What a memory keeps of a segment: the user's words."""
    return " ".join(text.removeprefix("User: ").split("\nAssistant:")[0].split())


def numbered_segments(body: str) -> list[str]:
    return [text.strip() for text in NUMBERED.split(body)[1:]]


def plain_segments(body: str) -> list[str]:
    return [("User: " + text).strip() for text in re.split(r"^User: ", body, flags=re.M)[1:]]


def cloze(segments: list[str], kind: str) -> Truth:
    """A word of six letters or more that one segment alone holds."""
    order = sorted(range(len(segments)), key=lambda i: zlib.crc32(f"{kind}{i}{segments[i][:40]}".encode()))
    words = [normalise(text) for text in segments]
    for i in order:
        for match in TERM.finditer(segments[i]):
            word = match.group()
            if sum(normalise(word) in text for text in words) == 1 and words[i].count(normalise(word)) == 1:
                around = segments[i][max(6, match.start() - 60) : match.start()] + "____"
                around += segments[i][match.end() : match.end() + 60]
                question = f"Which term fills the blank in: {' '.join(around.split())}?"
                return Truth(question, word, frozenset({segments[i]}))
    return Truth("What is it?", "nothing", frozenset())


@pytest.fixture
def truth() -> TruthfulTeacher:
    """A fresh one."""
    return TruthfulTeacher()


class Demo(NamedTuple):
    """A finished `evo demo --smallest`: its state folder, which nobody may change, and what it printed."""

    home: Path
    printed: str

    def copy(self, home: Path) -> Path:
        """The state folder as one of the test's own."""
        return Path(shutil.copytree(self.home, home))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The one whose home is named by `$EVO_DEMO`, what it printed beside it in a file; else it is made once, by
    whichever process of the test session comes first, with a Prefect server of its own.
    """
    if made := os.environ.get("EVO_DEMO"):
        return Demo(Path(made), Path(f"{made}.txt").read_text())
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home, printed = base / "demo" / "not" / "there" / "yet", base / "demo.txt"
    with FileLock(base / "demo.lock"):
        if not printed.exists():
            environ = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
            words = warm.command("demo", "--smallest")
            settings = {**environ, "EVO_HOME": str(home), "COLUMNS": "200"}
            done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return Demo(home, printed.read_text())


@pytest.fixture
def evo(prefect_url: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as a user does, by default on a state folder of the test's own."""

    def run(*words: str, home: Path = tmp_path / "home", **environ: str) -> subprocess.CompletedProcess[str]:
        settings = {**os.environ, "EVO_HOME": str(home), "PREFECT_API_URL": prefect_url, "COLUMNS": "200", **environ}
        return warm.run(words, settings)

    return run
