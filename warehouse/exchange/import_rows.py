"""A row of the published form as the rows of our tables, or the reason why it cannot be.

A `Line` comes in; a `Made` goes out, or a `RowError` that says why not.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from pydantic import ValidationError

from evoembedding.schemas.dataset import Failure
from evoembedding.schemas.episode import Context, Episode, Evidence, Question, Segment, Split, Verdict
from evoembedding.schemas.exchange import FORM
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.made import Made
from evoembedding.warehouse.exchange.import_source import LONGEST, Line
from evoembedding.warehouse.exchange.old_exports import row_of
from evoembedding.warehouse.exchange.record_form import FOREIGN, GENERATOR, Kind, OfContext, OfQuestion, OwnRow, Row

PAYLOAD = 2000  # characters of a rejected row that are kept


class RowError(Exception):
    """Why a row cannot be imported."""


class RowReader:
    """Reads the rows of one source. Those of an export, of that `form`, have ids that its manifest vouches for; others
    get ids from their content.

    `unknown` counts the keys that are not kept; `stamps` are the fingerprints of the verdicts that let rows pass: one,
    and another for each further episode of a question, since a question has one last word under a fingerprint.
    """

    def __init__(self, fingerprint: str, form: int | None) -> None:
        self.fingerprint, self.form = fingerprint, form
        self.unknown: Counter[str] = Counter()
        self.split: Split | None = None
        self._context, self._asked = "", Counter[str]()
        self._most = 1

    @property
    def stamps(self) -> tuple[str, ...]:
        return tuple(self._stamp(number) for number in range(1, self._most + 1))

    def read(self, line: Line) -> Made:
        """The row's rows; the last verdict says that the import let the episode pass.

        Raises:
            RowError: it is malformed.
        """
        row = _parsed(line, Row if self.form is None else OwnRow)
        segments, question, answer = _texts(row)
        indices = _evidence(row, len(segments))
        if self.split not in (None, row.split):
            raise RowError(f"split is '{row.split}' and that of earlier rows '{self.split}'; a version holds one split")
        made = (
            self._own(row, segments, question, answer, indices)
            if isinstance(row, OwnRow)
            else self._foreign(row, segments, question, answer, indices)
        )
        # Only now: a row that is rejected decides nothing for those after it.
        self.split = row.split
        self._count_unknown(row)
        return made

    def _foreign(
        self, row: Row, segments: tuple[Segment, ...], question: str, answer: str, indices: tuple[int, ...]
    ) -> Made:
        texts = [[segment.user, segment.assistant] for segment in segments]
        context_id = content_id("ctx", {"generator": GENERATOR, "split": row.split, "segments": texts})
        asked = {"generator": GENERATOR, "context_id": context_id, "question": question, "answer": answer}
        # With its evidence: a foreign question has one episode, and rows that differ in evidence alone are two.
        question_id = content_id("q", {**asked, "evidence": indices})
        episode = {"context_id": context_id, "question_id": question_id, "evidence": indices}
        evidence = Evidence(
            question_id=question_id,
            indices=indices,
            # The published form tells no votes.
            votes=(1,) * len(indices),
            generator=row.generator,
            fingerprint=self.fingerprint,
        )
        replies = any(segment.assistant for segment in segments)
        return self._made(
            row,
            (segments, question, answer, indices),
            (content_id("ep", episode), context_id, question_id, self.fingerprint),
            OfContext(generator=row.generator, fingerprint=self.fingerprint, seed=0, source_ids=[], calls=[]),
            OfQuestion(fingerprint=self.fingerprint, calls=[]),
            # The published form tells no kind; windows of documents have no replies.
            row.kind or ("dialogue" if replies else "web"),
            evidence=(evidence,),
        )

    def _own(
        self, row: OwnRow, segments: tuple[Segment, ...], question: str, answer: str, indices: tuple[int, ...]
    ) -> Made:
        try:
            evidence = tuple(Evidence(question_id=row.question_id, **one) for one in row.evidence)
            judged = (row_of("verdicts", one, self.form or FORM) for one in row.verdicts)
            verdicts = tuple(Verdict(question_id=row.question_id, **one) for one in judged)
        except (ValidationError, TypeError) as error:
            raise RowError(_first(error)) from None
        return self._made(
            row,
            (segments, question, answer, indices),
            (row.episode_id, row.context_id, row.question_id, row.fingerprint),
            row.context,
            row.question,
            row.kind,
            tuple(row.document_ids),
            evidence,
            verdicts,
        )

    def _made(
        self,
        row: Row,
        texts: tuple[tuple[Segment, ...], str, str, tuple[int, ...]],
        ids: tuple[str, str, str, str],
        of_context: OfContext,
        of_question: OfQuestion,
        kind: Kind,
        document_ids: tuple[str, ...] = (),
        evidence: tuple[Evidence, ...] = (),
        verdicts: tuple[Verdict, ...] = (),
    ) -> Made:
        segments, text, answer, indices = texts
        episode_id, context_id, question_id, fingerprint = ids
        common: dict[str, Any] = {"question_type": row.question_type, "family": row.family, "generator": row.generator}
        context = Context(
            context_id=context_id,
            kind=kind,
            generator=of_context.generator,
            split=row.split,
            seed=of_context.seed,
            document_ids=document_ids,
            segments=segments,
            fingerprint=of_context.fingerprint,
            source_ids=tuple(of_context.source_ids),
            calls=tuple(of_context.calls),
        )
        question = Question(
            question_id=question_id,
            context_id=context_id,
            text=text,
            answer=answer,
            fingerprint=of_question.fingerprint,
            reasoning=row.reasoning,
            calls=tuple(of_question.calls),
            **common,
        )
        episode = Episode(
            episode_id=episode_id,
            context_id=context_id,
            question_id=question_id,
            split=row.split,
            question=text,
            answer=answer,
            evidence=indices,
            segments=len(segments),
            fingerprint=fingerprint,
            **common,
        )
        return Made(
            contexts=(context,),
            questions=(question,),
            evidence=evidence,
            verdicts=(*verdicts, self._pass(context_id, question_id, episode_id)),
            episodes=(episode,),
        )

    def _pass(self, context_id: str, question_id: str, episode_id: str) -> Verdict:
        number = 1
        if self.form is not None:  # rows of a context lie together; the questions of foreign rows have one episode each
            if context_id != self._context:
                self._context, self._asked = context_id, Counter()
            self._asked[question_id] += 1
            number = self._asked[question_id]
            self._most = max(self._most, number)
        return Verdict(
            question_id=question_id,
            check_name="all",
            passed=True,
            reason="",
            fingerprint=self._stamp(number),
            episode_id=episode_id,
        )

    def _stamp(self, number: int) -> str:
        return self.fingerprint if number == 1 else f"{self.fingerprint}-{number}"

    def _count_unknown(self, row: Row) -> None:
        for place, parts in (("", [row]), ("meta.", [row.meta]), ("messages.", row.messages)):
            for part in parts:
                if part.model_extra:
                    self.unknown.update(place + key for key in part.model_extra)


def failure(line: Line, reason: str, fingerprint: str) -> Failure:
    """A rejected row, with its first characters."""
    raw = line.row.decode("utf-8", "replace") if isinstance(line.row, bytes) else repr(line.row)
    # A lone surrogate, which may be why the row was rejected, could not be stored.
    payload = json.dumps({"row": raw[:PAYLOAD].encode("utf-8", "replace").decode()}, ensure_ascii=False)
    reason = reason.encode("utf-8", "replace").decode()
    what = {"stage": "import", "fingerprint": fingerprint, "item": line.item, "reason": reason, "payload": payload}
    return Failure(failure_id=content_id("fail", what), **what, attempts=1)


def _parsed(line: Line, form: type[Row]) -> Row:
    if line.reason:
        raise RowError(line.reason)
    context = None if form is OwnRow else FOREIGN
    try:
        if isinstance(line.row, bytes):
            return form.model_validate_json(line.row, strict=True, context=context)
        return form.model_validate(line.row, strict=True, context=context)
    except ValidationError as error:
        raise RowError(_first(error)) from None


def _first(error: Exception) -> str:
    """The first thing that is wrong, and how much else is."""
    if not isinstance(error, ValidationError):
        return str(error)[:300]
    found = error.errors(include_url=False, include_input=False, include_context=False)
    place = ".".join(map(str, found[0]["loc"]))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{place + ': ' if place else ''}{found[0]['msg']}"[:300] + more


def _texts(row: Row) -> tuple[tuple[Segment, ...], str, str]:
    """Segments, question and answer, which messages and turns have to agree on."""
    messages, turns = row.messages, row.meta.turns
    if len(messages) < 4 or len(messages) % 2:
        raise RowError(f"{len(messages)} messages; there must be pairs of them, of segments and of question and answer")
    wrong = next((i for i, m in enumerate(messages) if m.role != ("user", "assistant")[i % 2]), None)
    if wrong is not None:
        raise RowError(f"messages.{wrong}: role '{messages[wrong].role}'; user and assistant must alternate")
    pairs = list(zip(messages[::2], messages[1::2], strict=True))
    if len(turns) != len(pairs):
        raise RowError(f"{len(turns)} turns and {len(messages)} messages; each turn is a pair of messages")
    # Rows of Parquet files and of the hub had no bound while they were read, as JSON lines have.
    if sum(len(m.content) for m in messages) > LONGEST:
        raise RowError(f"the row is longer than {LONGEST >> 20} MiB")
    segments = tuple(Segment(user=user.content, assistant=assistant.content) for user, assistant in pairs[:-1])
    for i, (segment, turn) in enumerate(zip(segments, turns, strict=False)):
        if not segment.user.strip() and not segment.assistant.strip():
            raise RowError(f"messages.{2 * i}: the segment is empty")
        if turn.rstrip() != segment.text:
            raise RowError(f"meta.turns.{i} is not the text of messages {2 * i} and {2 * i + 1}")
    question, answer = pairs[-1][0].content, pairs[-1][1].content
    if not question.strip() or not answer.strip():
        raise RowError(f"the {'answer' if question.strip() else 'question'} is empty")
    if turns[-1].strip() != question.strip():
        raise RowError("the last of meta.turns is not the question of messages")
    _storable([*(m.content for m in messages), row.generator, row.question_type, row.family, row.reasoning])
    return segments, question, answer


def _storable(texts: list[str]) -> None:
    whole = "".join(texts)
    if "\0" in whole:  # the catalog keeps the least and greatest texts of a file, and cannot take this one
        raise RowError("a text holds a NUL character, which the warehouse cannot store")
    try:
        whole.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError("a text holds a lone surrogate, which UTF-8 cannot store") from None


def _evidence(row: Row, segments: int) -> tuple[int, ...]:
    """Indices in order, each once."""
    indices = tuple(sorted(set(row.meta.evidence_turns)))
    if not indices:
        raise RowError("meta.evidence_turns is empty")
    if indices[0] < 0 or indices[-1] >= segments:
        odd = indices[0] if indices[0] < 0 else indices[-1]
        raise RowError(f"meta.evidence_turns names {str(odd)[:20]}, outside 0..{segments - 1}")
    return indices
