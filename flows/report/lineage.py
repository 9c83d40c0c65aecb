"""The lineage picture: the tree of `warehouse.lineage.trace` as a few boxes with totals.

A trace and counts come in; layers of boxes go out, which `diagram.py` draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise

from evoembedding.flows.report.charts import counted, number
from evoembedding.flows.report.diagram import Box
from evoembedding.warehouse.lineage.tree import TraceNode, in_words

CHAIN = ("model", "training run", "shard set", "dataset")
MOST = 6  # boxes of one kind; the others share one


def layers(tree: TraceNode, documents: Mapping[str, int], licences: Mapping[str, int]) -> list[list[Box]]:
    """From the top of the tree to the sources, what points to what. `documents` counts those of each generator."""
    chain = list(_chain(tree))
    dataset, below = chain[-1], list(chain[-1].children)
    nodes = [node for node in below if node.kind == "generator"]
    teachers = _teachers(nodes)
    generators = _few([_generator(node, teachers, documents) for node in nodes], "generators")
    # Such as the import that a version came by.
    others = [_plain(node) for node in below if node.kind not in ("generator", "documents", "more")]
    sources = [*_few(list(teachers.values()), "teachers"), *_sources(below, licences, bool(documents)), *others]
    to = tuple(box.key for box in (*generators, *others))
    return [
        *([_link(node, following)] for node, following in pairwise(chain)),
        [Box(dataset.id, "dataset version", dataset.label, _dataset_facts(dataset), to)],
        *(layer for layer in (generators, sources) if layer),
    ]


def _chain(node: TraceNode) -> Iterator[TraceNode]:
    yield node
    following = [child for child in node.children if child.kind in CHAIN]
    for child in following[:1]:
        yield from _chain(child)


def _link(node: TraceNode, following: TraceNode) -> Box:
    facts = node.facts
    shown = {
        "model": (_start("weights", facts.get("digest")),),
        "training run": (
            counted(facts.get("steps", 0), "step"),
            f"final loss {number(facts['final loss'])}" if "final loss" in facts else "",
            duration(facts.get("seconds", 0)),
        ),
        "shard set": (counted(facts.get("rows", 0), "context"), _start("tokenizer", facts.get("tokenizer"))),
    }
    return Box(node.id, node.kind, node.label, tuple(filter(None, shown.get(node.kind, ()))), (following.id,))


def _dataset_facts(node: TraceNode) -> tuple[str, ...]:
    facts = node.facts
    shown = [counted(facts.get("episodes", 0), "episode")]
    shown += [_start("digest", facts.get("digest"))] if facts.get("digest") else []
    shown += [f"recipe {facts['recipe']}"] if facts.get("recipe") else []
    return tuple(shown)


def _generator(node: TraceNode, teachers: Mapping[str, Box], documents: Mapping[str, int]) -> Box:
    facts = [counted(node.facts.get(f"{what}s", 0), what) for what in ("episode", "context")]
    # By the model, as the boxes of teachers are: a model that several stages asked gets one arrow.
    to = [teachers[name].key for name in dict.fromkeys(map(_model, _calls(node)))]
    if documents.get(node.label):
        facts.append(f"from {counted(documents[node.label], 'document')}")
        to.append("documents")
    return Box(f"generator {node.label}", "generator", node.label, tuple(facts), tuple(to))


def _calls(node: TraceNode) -> list[TraceNode]:
    return [child for child in node.children if child.kind == "teacher calls"]


def _model(call: TraceNode) -> str:
    return str(call.facts.get("model", call.label))


def _teachers(generators: list[TraceNode]) -> dict[str, Box]:
    """A box a teacher model, its calls of all stages together."""
    sums: dict[str, list[float]] = {}
    for call in (call for node in generators for call in _calls(node)):
        total = sums.setdefault(_model(call), [0, 0, 0])
        for place, what in enumerate(("calls", "tokens", "cost")):
            total[place] += call.facts.get(what, 0)
    return {
        name: Box(
            f"teacher {name}",
            "teacher",
            name,
            (counted(int(calls), "call"), f"{number(tokens)} tokens", *([f"cost {cost:,.2f}"] if cost else [])),
        )
        for name, (calls, tokens, cost) in sorted(sums.items())
    }


def _sources(below: Sequence[TraceNode], licences: Mapping[str, int], used: bool) -> list[Box]:
    total = next((node.facts.get("total", 0) for node in below if node.kind == "documents"), 0)
    if not total or not used:
        return []
    names = [name or "no licence stated" for name in licences]
    shown = names[0] if len(names) == 1 else counted(len(names), "licence")
    return [Box("documents", "sources", counted(total, "document"), (shown,))]


def _plain(node: TraceNode) -> Box:
    return Box(
        node.id, node.kind, node.label or node.id, tuple(f"{k}: {in_words(v)}" for k, v in list(node.facts.items())[:3])
    )


def _few(boxes: list[Box], what: str) -> list[Box]:
    """The first boxes; one stands for all others, and has their keys."""
    if len(boxes) <= MOST:
        return boxes
    rest = boxes[MOST - 1 :]
    to = tuple(dict.fromkeys(key for box in rest for key in box.to))
    keys = frozenset(box.key for box in rest)
    return [*boxes[: MOST - 1], Box(f"more {what}", what, f"and {len(rest)} more", (), to, keys)]


def _start(what: str, digest: str | None) -> str:
    return f"{what} {digest[:10]}…" if digest else ""


def duration(seconds: float) -> str:
    """`1.1 s`, `7 min 14 s`, `26 h 40 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    return f"{hours:,} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
