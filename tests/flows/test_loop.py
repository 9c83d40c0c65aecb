"""The loop that closes by itself, on a real server and worker: documents come, a version, a model, a gate, a champion.

A batch that teaches nonsense comes in between; `make loop` tells the whole story from the tables, once for each seed.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from evoembedding.flows.recipes import recipe
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.episode import Episode
from evoembedding.schemas.ids import content_id
from evoembedding.synth.simulator import simulate
from evoembedding.synth.verification import verify
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.commit import commit
from evoembedding.warehouse.registry.decisions import decisions
from tests import warm
from tests.deployed import Deployed
from tests.soak import count

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
RECIPE = """base = "smallest"
name = "talks"
heldout_contexts = 40
[simulator]
contexts = {good}
[train]
seed = {seed}
steps = {steps}
batch_episodes = 8
learning_rate = 2e-3
memory_loss_weight = 0.25
checkpoint_every = 100
model = {{layers = 2, hidden = 64, embedding = 64, heads = 2, memory = true}}
[retrain]
new_documents = 3
new_share = 0.3
[gate]
benchmark = "heldout"
rules = [{{metric = "nDCG@10", not_worse_than = 0.12}}]
guards = [{{metric = "nDCG@10", may_lose = 0.1}}]
"""
# Trained anew on nearly the same, such small models differ by some 0.03; on nonsense, they lose ten times that.
STEPS, GOOD = count((160, 500), (260, 700))
BAD = 2 * GOOD  # dialogues of the batch whose evidence is shuffled; GOOD are the recipe's
EVERY_S = 30  # a run is a process that imports Prefect: more often, they would take a core by themselves
NOTE = "The archive of {0} keeps charts of the river {0}, drawn in {1}. Its keeper in {1} was {2} Valadão. "
FIRST, THEN = ("Evora", "Faro", "Tomar"), ("Beja", "Elvas", "Silves", "Lagos")
STORY = {
    "documents": "SELECT source_id, document_id FROM documents ORDER BY ALL",
    "versions": "SELECT name || '@' || number AS version, episodes, created_at FROM dataset_versions ORDER BY ALL",
    "decisions": """SELECT sequence, decision, outcome, new_documents, new_episodes, dataset, reasons[1] AS why
                    FROM retrain_decisions WHERE decision = 'retrain' ORDER BY created_at""",
    "gates": """SELECT model_id, metric, question_slice, direction, value, baseline_value, passed, reason
                FROM gate_rules ORDER BY created_at, rule""",
    "the name": "SELECT sequence, alias, number, move, reason, gate_id FROM model_aliases ORDER BY sequence",
}


@pytest.fixture(params=range(count(1, 5)))
def loop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Deployed, Recipe, Path]]:
    """Deployed with a schedule of `ingest` that reads a folder, and one of `retrain`; nothing else is ever called."""
    inbox, file = tmp_path / "inbox", tmp_path / "talks.toml"
    inbox.mkdir()
    file.write_text(RECIPE.format(seed=request.param, steps=STEPS, good=GOOD))
    deployed = Deployed.start(tmp_path)
    asks = {"name": "support", "recipe": str(file)}
    deployed.call("PATCH", f"deployments/{deployed.deployment('retrain')['id']}", parameters=asks)
    deployed.switch_on("retrain as documents come")
    deployed.schedule("ingest", EVERY_S, source=str(inbox), sync=True, create_home=True)
    yield deployed, recipe(str(file)), inbox
    deployed.stop()


def test_documents_become_a_champion_and_nonsense_does_not(loop: tuple[Deployed, Recipe, Path]) -> None:
    deployed, settings, inbox = loop
    drop(inbox, FIRST)
    first = ended(deployed, 1)
    assert (first.outcome, first.dataset) == ("promoted", "talks@1")
    drop(inbox, THEN)
    second = ended(deployed, 2)
    assert (second.outcome, second.dataset) == ("promoted", "talks@2")
    assert second.reasons[0].startswith("4 documents are new")
    assert deployed.champion("support") == 2

    with Warehouse.open(deployed.home) as warehouse:
        nonsense(warehouse, settings)
    deployed.schedule("retrain", EVERY_S)
    third = ended(deployed, 3)
    assert (third.outcome, third.dataset) == ("refused", "talks@3")
    assert "episodes are new" in third.reasons[0]
    with Warehouse.open(deployed.home) as warehouse:
        lost = warehouse.query(
            "SELECT question_slice, reason FROM gate_rules WHERE gate_id = ? AND NOT passed", (third.gate_id,)
        )
    assert "all" in set(lost["question_slice"])
    assert set(lost["question_slice"]) - {"all"}  # and the question types that lost most
    assert deployed.champion("support") == 2

    back = evo(deployed, "model", "rollback", "support", "--why", "to see that it can be done")
    assert "support@1 is the champion again, in place of support@2" in back
    assert deployed.champion("support") == 1
    tell_the_story(deployed)


def drop(inbox: Path, towns: tuple[str, ...]) -> None:
    """Put a text a town into the folder, as another program would: written elsewhere, and moved."""
    for i, town in enumerate(towns):
        written = inbox.parent / f"{town}.part"
        written.write_text("".join(NOTE.format(town, 1500 + 7 * i + j, f"Inês{town}{j}") for j in range(30)))
        shutil.move(written, inbox / f"{town}.txt")


def nonsense(warehouse: Warehouse, settings: Recipe) -> None:
    """Episodes as a broken generator would leave them: the recipe's next dialogues, with evidence by chance."""
    rng = random.Random(settings.train.seed)
    worlds = settings.simulator.replace(contexts=GOOD + BAD)
    made = []
    for draft in list(simulate(worlds))[GOOD:]:
        good = verify(draft, set())
        wrong = {one.episode_id: shuffled(rng, one) for one in good.episodes}
        verdicts = [
            one.replace(episode_id=wrong[one.episode_id].episode_id) if one.episode_id else one for one in good.verdicts
        ]
        made.append(good.replace(episodes=tuple(wrong.values()), verdicts=tuple(verdicts)))
    assert commit(warehouse, made) > BAD


def shuffled(rng: random.Random, episode: Episode) -> Episode:
    """Evidence wherever chance has it."""
    evidence = (rng.randrange(episode.segments),)
    identity = content_id("ep", {"in place of": episode.episode_id, "evidence": evidence})
    return episode.replace(episode_id=identity, evidence=evidence)


def ended(deployed: Deployed, which: int) -> Any:
    """A decision to train by its number, once it has ended."""

    def look() -> Any:
        if not (deployed.home / "warehouse").exists():
            return None
        with Warehouse.open(deployed.home) as warehouse:
            found = [one for one in decisions(warehouse, "support") if one.decision == "retrain"]
        return found[which - 1] if len(found) >= which and found[which - 1].outcome else None

    return deployed.wait(look, every_s=3)  # opening a warehouse takes a third of a second of a core


def evo(deployed: Deployed, *words: str) -> str:
    done: subprocess.CompletedProcess[str] = warm.run(words, {**deployed.environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def tell_the_story(deployed: Deployed) -> None:
    """All of it, from the tables."""
    with Warehouse.open(deployed.home) as warehouse, pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160):
        for title, query in STORY.items():
            print(f"\n{title}\n{warehouse.query(query)}")
    print(evo(deployed, "model", "history", "support"))
