"""Dataset versions, shard sets, training runs, models and scores: what lineage connects."""

from __future__ import annotations

from typing import Literal

from evoembedding.schemas.episode import Record
from evoembedding.schemas.expect import Found
from evoembedding.schemas.moments import Moment


class DatasetVersion(Record):
    """An immutable published set of episodes, `name@number`."""

    dataset_id: str
    name: str
    number: int
    digest: str
    parent: str | None
    recipe: str
    git_commit: str
    snapshot: int
    episodes: int
    created_at: Moment
    curation: str = ""  # the fingerprint of the verdicts that left episodes out

    @property
    def label(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def published(self) -> int:
        """The snapshot that publishing it made: the one after that which it was published from, as writers take turns.
        A row's own snapshot does not tell, where a migration has written it again.
        """
        return self.snapshot + 1


class DatasetMember(Record):
    """An episode's membership in a dataset version."""

    dataset_id: str
    episode_id: str


class DatasetTag(Record):
    """Where a name's tag was moved to, the `sequence`-th time: a version, or '' when it was removed. The last holds."""

    name: str
    tag: str
    sequence: int
    dataset_id: str
    created_at: Moment


class ExpectationRow(Found):
    """What was found under one expectation of a dataset version, the `sequence`-th time that it was judged.

    The last judgement holds: a version of which an error failed is a draft, unless it was accepted anyway.
    """

    dataset_id: str
    sequence: int
    rule: int
    parent_id: str  # the version that it was compared with; '' for none
    recipe: str  # the name of the recipe whose expectations they are
    decided_by: str
    created_at: Moment


class Acceptance(Record):
    """Why a draft may be trained on all the same, whatever the `sequence`-th judgement of it found."""

    dataset_id: str
    sequence: int
    reason: str
    accepted_by: str
    created_at: Moment


class ShardSet(Record):
    """Tokenised, length-sorted Parquet shards of one dataset version for one tokenizer."""

    shard_set_id: str
    dataset_id: str
    tokenizer_digest: str
    place: str  # under the state folder: see `schemas.places`
    rows: int
    manifest_digest: str
    created_at: Moment


class TrainingRun(Record):
    """One training job over one shard set; `config` is the JSON of its TrainConfig."""

    training_run_id: str
    shard_set_id: str
    config: str
    steps: int
    final_loss: float
    seconds: float
    created_at: Moment


class TrainingMetric(Record):
    """What a step of a training run measured: a row of its `metrics.jsonl`, a number a row."""

    training_run_id: str
    step: int
    name: str
    value: float


class ModelRecord(Record):
    """A published model folder; `digest` is that of its weights file."""

    model_id: str
    training_run_id: str
    place: str  # under the state folder
    digest: str
    created_at: Moment


class Evaluation(Record):
    """One metric of one system on one benchmark and question type: mean with its 95 % interval, for a model.

    `measured_on` is the digest of the conversations and questions; '' in rows of code that did not tell.
    """

    evaluation_id: str
    model_id: str
    benchmark: str
    system: str
    question_type: str
    metric: str
    value: float
    low: float
    high: float
    questions: int
    measured_on: str = ""
    left_out: int = 0  # questions of the benchmark that could not be asked


class Withdrawal(Record):
    """A source that may be used no longer: what was made from it stays on record, but is never published again."""

    source: str  # its id
    kind: str  # what it is: a document, context, question, episode, teacher call, teacher model or stage fingerprint
    reason: str
    withdrawn_by: str
    created_at: Moment


class DocumentSource(Record):
    """A document under its name in a source, as the `sequence`-th ingest found it there: the last row holds.

    It is present, replaced by a `successor`, or gone. What is present nowhere is used in new versions no longer.
    """

    source: str  # what was ingested: a folder, or a dataset of the hub
    file: str
    source_id: str
    document_id: str
    sequence: int
    state: Literal["present", "replaced", "gone"]
    successor: str = ""
    created_at: Moment


class Outcome(Record):
    """What became of one item (a persona, a document) at the stages of `fingerprint`: written with its rows, last.

    Balances: contexts + failed_contexts = 1, asked = drafted + failed, drafted = accepted + rejected.
    """

    item: str
    fingerprint: str  # of the last stage, which includes those before
    attempt: int
    scope: str  # the recipe's name, whose budget paid
    kind: str
    contexts: int
    failed_contexts: int
    asked: int
    drafted: int
    failed: int
    accepted: int
    rejected: int
    created_at: Moment
    context_id: str = ""  # '' where it failed


class StageFingerprint(Record):
    """What a fingerprint stands for: `components` is JSON, a value or a hash by name; `before` the stage before."""

    fingerprint: str
    stage: str
    kind: str
    scope: str
    components: str
    created_at: Moment
    before: str = ""  # its fingerprint, which this one includes; '' for a first stage


class Import(Record):
    """Rows that came from elsewhere as a dataset version: its lineage goes back to `source` as far as we know it.

    `exported` is the JSON of the version that the source was an export of, or ''.
    """

    import_id: str
    dataset_id: str
    source: str
    revision: str  # of a hub's dataset: its commit
    digest: str  # of the bytes that were read
    fingerprint: str  # of the rows that it made, and of the verdicts that let them pass
    rows: int
    episodes: int
    rejected: int  # rows; each is in `failures`
    licence: str
    exported: str
    created_at: Moment


class Failure(Record):
    """An item that ended in error: at which stage, under which fingerprint, why; '' where there is none of these.

    `question_type` is of the question that was lost, '' where it is the whole item. A `retryable` one may succeed when
    it is asked again.
    """

    failure_id: str
    stage: str
    item: str
    reason: str
    payload: str
    attempts: int
    fingerprint: str = ""
    question_type: str = ""
    retryable: bool = False


class SchemaVersion(Record):
    """The schema that the warehouse's tables have had since then: the highest holds."""

    version: int
    created_at: Moment
