"""Questions about plans, remarks, gifts, nicknames and donations."""

from __future__ import annotations

from collections.abc import Iterator

from evoembedding.synth.simulator.builders.told import NUMBERS, Builder, Candidate, Told, World, indices, value_of


def _original_plan(world: World) -> Iterator[Candidate]:
    return (value_of(plans[0]) for plans in world.told_by("plan").values() if len(plans) > 1)


def _cancellation(world: World) -> Iterator[Candidate]:
    return (value_of(off[-1]) for off in world.told_by("off").values())


def _current_plan(world: World) -> Iterator[Candidate]:
    off, stands = world.told_by("off"), world.told_by("stands")
    for name, plans in world.told_by("plan").items():
        dropped = {beat.value for _, beat in off.get(name, [])}
        left = {beat.value for _, beat in plans} - dropped
        kept = [told for told in stands.get(name, []) if told[1].value in left]
        if len(left) == len(kept) == 1 and dropped:
            yield value_of(kept[0])


def _who_said(world: World) -> Iterator[Candidate]:
    return (Candidate(beat.name, (i,), attribute=beat.attribute, value=beat.value) for i, beat in world.told("said"))


def _opinion(world: World) -> Iterator[Candidate]:
    return map(value_of, world.told("said"))


def _considered(world: World) -> Iterator[Candidate]:
    return map(value_of, world.told("considered"))


def _suggestion(world: World) -> Iterator[Candidate]:
    return map(value_of, world.told("suggestion"))


def _request(world: World) -> Iterator[Candidate]:
    asked = world.told("suggestion")
    for i, beat in asked:
        if sum(other.attribute == beat.attribute for _, other in asked) == 1:
            yield Candidate(beat.name, (i,), attribute=beat.attribute)


def _gifts(world: World) -> Iterator[tuple[Told, Told]]:
    """Visits with the gift that was told right after."""
    for i, beat in world.told("gift"):
        if i and world.beats[i - 1].kind == "came":
            yield (i - 1, world.beats[i - 1]), (i, beat)


def _pronoun(world: World) -> Iterator[Candidate]:
    return map(value_of, world.told("gift"))


def _pronoun_subject(world: World) -> Iterator[Candidate]:
    for came, gift in _gifts(world):
        yield Candidate(came[1].name, indices((came, gift)), value=gift[1].value)


def _chain(world: World) -> Iterator[Candidate]:
    for came, gift in _gifts(world):
        for (name, attribute), track in world.tracks.items():
            if name == came[1].name:
                evidence = indices((came, gift, track[-1]))
                yield Candidate(track[-1][1].value, evidence, attribute=attribute, value=gift[1].value)


def _nickname(world: World) -> Iterator[Candidate]:
    for alias, borrowed in zip(world.told("nickname"), world.told("borrowed"), strict=True):
        yield Candidate(borrowed[1].value, indices((alias, borrowed)), alias[1].name)


def _alias(world: World) -> Iterator[Candidate]:
    return (Candidate(beat.name, (i,), value=beat.attribute) for i, beat in world.told("nickname"))


def _count(world: World) -> Iterator[Candidate]:
    for name, donated in world.told_by("donated").items():
        yield Candidate(NUMBERS[len(donated)], indices(donated), name)


def _listing(world: World) -> Iterator[Candidate]:
    for name, donated in world.told_by("donated").items():
        if len(donated) > 1:
            yield Candidate(", ".join(beat.value for _, beat in donated), indices(donated), name)


def _last(world: World) -> Iterator[Candidate]:
    return (value_of(donated[-1]) for donated in world.told_by("donated").values() if len(donated) > 1)


ORIGINAL_PLAN = Builder(
    _original_plan,
    (
        "What was the first plan of {name}?",
        "What did {name} plan at first?",
        "Which plan did {name} make first?",
        "Which was the first plan that {name} made?",
        "What was {name}'s original plan?",
    ),
)
CANCELLATION = Builder(
    _cancellation,
    (
        "Which plan did {name} call off last?",
        "What did {name} cancel most recently?",
        "Which plan of {name} was called off last?",
        "What was the last plan that {name} called off?",
        "What was the last thing that {name} cancelled?",
        "What is the latest plan that {name} called off?",
        "Which plan did {name} drop last?",
        "Which was the last plan that {name} cancelled?",
    ),
)
CURRENT_PLAN = Builder(
    _current_plan,
    (
        "Which plan of {name} still stands?",
        "Which plan does {name} still have?",
        "What is {name} still planning?",
        "Which plan does {name} still keep?",
        "What plan is left for {name}?",
    ),
)
WHO_SAID = Builder(
    _who_said,
    (
        "Who said the {a} is {v}?",
        "Who finds the {a} {v}?",
        "Which person said that the {a} is {v}?",
        "Who said that the {a} was {v}?",
        "According to whom is the {a} {v}?",
    ),
)
OPINION = Builder(
    _opinion,
    (
        "How does {name} find the {a}?",
        "What does {name} think of the {a}?",
        "What is the {a} like, according to {name}?",
        "What does {name} find the {a}?",
        "In {name}'s opinion, what is the {a} like?",
    ),
)
CONSIDERED = Builder(
    _considered,
    (
        "Which {a} did {name} think about, but not choose?",
        "What {a} did {name} consider and decide against?",
        "Which {a} tempted {name} without a switch?",
        "Which {a} did {name} consider, but not choose?",
        "What did {name} look at as {a} and not take?",
    ),
)
SUGGESTION = Builder(
    _suggestion,
    (
        "What did you suggest as {a} for {name}?",
        "Which {a} was your idea for {name}?",
        "What {a} did you propose for {name}?",
        "Which {a} did you suggest for {name}?",
        "What was your suggestion for {name}'s {a}?",
    ),
)
REQUEST = Builder(
    _request,
    (
        "For whom did I ask you for {a} ideas?",
        "Whose {a} did I ask you to help with?",
        "For whom did I want you to suggest the {a}?",
        "For whom did I want {a} ideas?",
        "For which person did I ask your advice on the {a}?",
    ),
)
PRONOUN = Builder(
    _pronoun,
    (
        "What gift did {name} bring me?",
        "What did {name} give me as a gift?",
        "Which gift came from {name}?",
        "Which gift did {name} give me?",
        "What was the gift from {name}?",
    ),
)
PRONOUN_SUBJECT = Builder(
    _pronoun_subject,
    (
        "Who gave me the {v}?",
        "Who brought me the {v} as a gift?",
        "From whom did I get the {v}?",
        "Who brought me the {v}?",
        "Whose gift was the {v}?",
    ),
)
CHAIN = Builder(
    _chain,
    (
        "What is the {a} now of the person who gave me the {v}?",
        "Which {a} does the giver of the {v} have now?",
        "What is now the {a} of whoever gave me the {v}?",
        "Now which {a} has the giver of the {v}?",
        "The {v} was a gift: what is the giver's {a} now?",
    ),
)
NICKNAME = Builder(
    _nickname,
    (
        "What did {name} borrow from me?",
        "What did I lend to {name}?",
        "Which thing of mine does {name} have?",
        "Which thing did {name} borrow from me?",
        "What of mine did {name} take?",
    ),
)
ALIAS = Builder(
    _alias,
    (
        "Who is {v}?",
        "Whose nickname is {v}?",
        "Who goes by {v}?",
        "Who has the nickname {v}?",
        "What is the real name of {v}?",
    ),
)
COUNT = Builder(
    _count,
    (
        "How many things did {name} donate to the fair?",
        "How many donations came from {name}?",
        "How many items did {name} give to the fair?",
        "How many donations did {name} give to the fair?",
        "Count the things that {name} gave to the fair.",
    ),
)
LISTING = Builder(
    _listing,
    (
        "Which things did {name} donate to the fair?",
        "Which things did {name} give to the fair?",
        "List in order what {name} donated to the fair.",
        "What are the things that {name} donated to the fair?",
        "Which donations to the fair came from {name}?",
    ),
)
LAST = Builder(
    _last,
    (
        "What did {name} donate to the fair last?",
        "Which thing did {name} give to the fair last?",
        "What was {name}'s last donation to the fair?",
        "Which thing did {name} donate last to the fair?",
        "Which donation of {name} came last?",
    ),
)
