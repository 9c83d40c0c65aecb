"""The taxonomy: every type is complete, and contexts are offered only what they can carry."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoembedding.synth.simulator.fillers import SPLITS, partition
from evoembedding.synth.taxonomy import _TYPES, KINDS, QUESTION_TYPES, STATE_TYPES, QuestionType, carried_by
from evoembedding.synth.text import normalise

FAMILIES = (
    "recall",
    "coreference",
    "temporal",
    "knowledge_update",
    "multi_hop",
    "aggregation",
    "preference",
    "reasoning",
    "discourse",
)


def test_the_breadth_of_the_design() -> None:
    assert 44 <= len(QUESTION_TYPES) <= 50
    assert len(_TYPES) == len(QUESTION_TYPES)  # no name twice
    assert {kind.family for kind in _TYPES} == set(FAMILIES)
    assert sum(kind.builder is not None for kind in _TYPES) >= 26
    assert set(STATE_TYPES) <= set(QUESTION_TYPES)


@pytest.mark.parametrize("kind", _TYPES, ids=lambda kind: kind.name)
def test_every_entry_is_complete(kind: QuestionType) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.name)
    assert kind.description and not kind.description.endswith(".")
    assert kind.instruction.endswith(".")
    assert re.fullmatch(r"Context: .+ Question: .+ Answer: \S.*", kind.example)
    assert kind.kinds and set(kind.kinds) <= set(KINDS)
    assert kind.min_segments >= 2 and kind.weight >= 0
    if kind.builder:
        assert all(partition(kind.builder.templates, split) for split in SPLITS)
        assert len(set(kind.builder.templates)) == len(kind.builder.templates)


@pytest.mark.parametrize("kind", _TYPES, ids=lambda kind: kind.name)
def test_examples_obey_the_checks(kind: QuestionType) -> None:
    context, question, answer = re.split(r" ?(?:Context|Question|Answer): ", kind.example)[1:]
    if not kind.derived_answer:
        assert normalise(answer) in normalise(context)
    if not kind.choice:
        assert normalise(answer) not in normalise(question)


@given(st.sampled_from(KINDS), st.integers(0, 40), st.integers(0, 40))
def test_a_context_is_offered_what_it_can_carry(kind: str, segments: int, more: int) -> None:
    offered = carried_by(kind, segments)
    assert all(kind in t.kinds and t.min_segments <= segments and t.weight > 0 for t in offered)
    assert set(offered) <= set(carried_by(kind, segments + more))
    assert "cloze" not in {t.name for t in offered}


def test_what_only_some_contexts_carry() -> None:
    web, memory, dialogue = ({t.name for t in carried_by(kind, 20)} for kind in ("web", "memory", "dialogue"))
    assert dialogue == set(QUESTION_TYPES) - {"cloze"}
    assert dialogue - memory == {"suggestion", "request", "who_promised"}
    personal = {t.name for t in _TYPES if t.family in ("knowledge_update", "preference")}
    assert personal <= memory and not personal & web
    assert {t.family for t in carried_by("web", 20)} >= {"recall", "temporal", "multi_hop", "aggregation", "reasoning"}


@pytest.mark.parametrize("module", ["synth.taxonomy", "synth.simulator", "synth.simulator.questions", "synth.checks"])
def test_entries_name_builders_without_an_import_cycle(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import evoembedding.{module}"], check=True)
