"""The same fingerprint, the same bytes: what generators and checks give for a fixed input, by fingerprint.

A digest that differs under its fingerprint says that code changed what is made unnoticed: rows of old and new code
would be mixed as if they were the same. Raise the VERSION of the stage, which gives it another fingerprint. A
fingerprint that is not here is a new one: add a line, and leave those of old code, which warehouses hold.
"""

from __future__ import annotations

import pytest

from evoembedding.schemas.configs import ClozeConfig, SimulatorConfig
from evoembedding.schemas.episode import Document, Draft
from evoembedding.schemas.ids import content_id, digest
from evoembedding.schemas.made import Made
from evoembedding.synth.cloze import cloze
from evoembedding.synth.simulator import drafts as drafts_module
from evoembedding.synth.simulator import simulate
from evoembedding.synth.simulator.questions import BUILDERS
from evoembedding.synth.verification import fingerprint, verify
from tests.synth.test_checks import BAD, draft

PROSE = """The Harbour of Quillon was dredged in 1742. Its keeper, Ferdinand Osk, kept 17 lamps and a parrot.

In spring the ferry to Wexholm ran twice a day; in winter it ran when the ice let it. Letters went by `post_boat.v2`.
Nobody knew why the old customs house was painted green. Mira Tolland said that it was cheaper than blue, and that the
sea took the colour anyway. The lighthouse had 212 steps, of which Osk had counted only the first hundred."""
TEXT = Document(
    document_id=content_id("doc", {"title": "Quillon", "text": PROSE}),
    source_id="quillon",
    title="Quillon",
    uri="",
    license="",
    text=PROSE,
)
DRAFTS = {
    "2daaadf81e3fb84ef2b7": "9949f18d896750bd21c8",  # simulator-2, for training
    "253bdc443352468c1290": "04c6406e38ac75e045f0",  # simulator-2, held out
    "74dd2002da64b6e2790a": "0be0155f518fa5ade2f2",  # cloze-1
    "6357fc120c4d4713c8c4": "0be0155f518fa5ade2f2",  # cloze-2, the same of English prose
}
VERDICTS = {
    "9e08a8c9382c78e0c57e": "c34dadeae63a79bc47de",  # checks-3
    "a4be2f16a18a58e0a208": "c34dadeae63a79bc47de",  # checks-4
}


def drafts(name: str) -> list[Draft]:
    """All that is told of some worlds, and of a text."""
    if name == "cloze":
        config = ClozeConfig(window_words=30, overlap_words=6, questions_per_document=4)
        return list(cloze(TEXT, config))
    small = SimulatorConfig(contexts=20, min_segments=8, max_segments=40, questions_per_context=60)
    return list(simulate(small if name == "train" else small.replace(split="heldout")))


def of_drafts(made: list[Draft]) -> str:
    """A digest of all that ids and training read of drafts."""
    return digest(
        [
            [
                [d.context.context_id, d.context.kind, d.context.generator, d.context.split, d.context.seed],
                [[s.user, s.assistant] for s in d.context.segments],
                [[q.question_id, q.question_type, q.family, q.text, q.answer, q.generator] for q in d.questions],
                [[e.question_id, e.indices, e.votes, e.voters] for e in d.evidence],
            ]
            for d in made
        ],
        10,
    )


def of_verdicts(made: list[Made]) -> str:
    """A digest of all that is chosen by verdicts."""
    return digest(
        [
            [
                [[v.question_id, v.check_name, v.passed, v.reason, v.episode_id] for v in checked.verdicts],
                [[e.episode_id, e.question_id, e.evidence, e.segments] for e in checked.episodes],
            ]
            for checked in made
        ],
        10,
    )


@pytest.mark.parametrize("name", ["train", "heldout", "cloze"])
def test_drafts_are_the_same_bytes_under_the_same_fingerprint(name: str) -> None:
    made = drafts(name)
    (mark,) = {draft.context.fingerprint for draft in made}
    assert DRAFTS.get(mark, "a new fingerprint") == of_drafts(made), mark


def test_the_drafts_ask_every_type_that_has_a_builder() -> None:
    assert {question.question_type for draft in drafts("train") for question in draft.questions} == set(BUILDERS)


def test_checks_say_the_same_under_the_same_fingerprint() -> None:
    seen: set[str] = set()
    checked = [verify(one, seen) for one in [*(bad for _, bad in BAD), draft(), draft(text="where does mira LIVE")]]
    mark = fingerprint("f", "simulator")
    assert VERDICTS.get(mark, "a new fingerprint") == of_verdicts(checked), mark


def test_code_that_tells_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    render = drafts_module.render
    shouted = {"user": "I SAY IT LOUD."}
    monkeypatch.setattr(drafts_module, "render", lambda *beat: render(*beat).replace(**shouted))
    made = drafts("train")
    assert made[0].context.fingerprint in DRAFTS
    assert of_drafts(made) != DRAFTS[made[0].context.fingerprint]
