"""When a model is trained again: a policy, what was seen of the state folder, and what was decided and came of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from evoembedding.schemas.episode import Record
from evoembedding.schemas.identity import Config
from evoembedding.schemas.moments import Moment


class RetrainPolicy(Config):
    """When the model in use is trained again: each bound that is reached is a reason; one of 0 is none.

    What is new is so since the dataset version that the model in use was trained on. Where no model of the name is in
    use, one is trained.
    """

    new_documents: int = Field(100, ge=0, description="So many usable documents came since.")
    new_episodes: int = Field(0, ge=0, description="The recipe has so many episodes that the version does not hold.")
    new_share: float = Field(
        0.1, ge=0, allow_inf_nan=False, description="Those are such a share of the version's episodes."
    )
    older_than_days: float = Field(0, ge=0, allow_inf_nan=False, description="The model is older than this.")
    withdrawn: bool = Field(True, description="An episode of the version was made from what has been withdrawn.")
    score_below: float = Field(
        0, ge=0, le=1, description="The score last measured on the gate's benchmark is below this."
    )
    score_metric: str = Field("nDCG@10", description="Recall@1, Recall@5, Recall@10, nDCG@10 or MRR.")
    not_within_days: float = Field(
        0, ge=0, allow_inf_nan=False, description="A younger model stays, unless something was withdrawn."
    )

    @model_validator(mode="after")
    def _can_be_kept_to(self) -> RetrainPolicy:
        bounds = (self.new_documents, self.new_episodes, self.new_share, self.older_than_days, self.score_below)
        if not any(bounds) and not self.withdrawn:
            raise ValueError("every bound is 0 and withdrawn is false, so that no model is ever trained again; set one")
        if 0 < self.older_than_days < self.not_within_days:
            raise ValueError(
                f"a model that is older than {self.older_than_days:g} days is to be trained again, and one younger "
                f"than {self.not_within_days:g} days is not: not_within_days is to be {self.older_than_days:g} at most"
            )
        return self


class Seen(Record):
    """What a decision goes by: the model in use, and what has come since it."""

    champion_id: str  # '' where no model of the name is in use
    dataset_id: str  # of the version that it was trained on; '' where none is known
    episodes: int  # of that version
    new_documents: int
    new_episodes: int
    withdrawn_episodes: int
    age_days: float | None
    score: float | None  # None where none was measured, or none is asked for


# What came of training again; '' of what was decided, and has not ended.
# `waiting`: blessed, and to be promoted by a person; `declined`: a person said no.
RetrainOutcome = Literal["", "promoted", "refused", "unjudged", "unchanged", "failed", "waiting", "declined"]
TURNED_DOWN: tuple[RetrainOutcome, ...] = ("refused", "declined")  # by the gate, by a person: commands end with 3


class RetrainDecision(Seen):
    """Whether a model is to be trained again, why, and what came of it, as the `sequence`-th row: the last one holds.

    The first row is stored as it is decided; where that is to train, a second one as it has ended. A decision without
    its second row was stopped, and the next `evo retrain` goes on with it.
    """

    decision_id: str
    sequence: int
    name: str
    recipe: str  # its name
    policy: str
    situation: str  # digest of the model in use, the recipe and what there is to train on; '' where nothing is asked
    decision: Literal["retrain", "keep"]
    reasons: tuple[str, ...]
    decided_by: str
    flow_run_id: str  # of Prefect; '' where it was not started
    created_at: Moment
    outcome: RetrainOutcome = ""
    model_id: str = ""
    dataset: str = ""  # the version that was trained on, NAME@N
    gate_id: str = ""
    problem: str = ""  # in a sentence, where it failed
