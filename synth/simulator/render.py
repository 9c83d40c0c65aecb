"""Beats as segments: paraphrases of each kind of statement, every fourth of them held out."""

from __future__ import annotations

import random

from schemas.episode import Segment, Split
from synth.simulator.fillers import SPLITS, partition
from synth.simulator.world import Beat

STATEMENTS: dict[str, tuple[str, ...]] = {
    # No cue of order: the first value and the latest are told in the same words.
    "set": (
        "{name}'s {a} is {v} now.",
        "I heard that {name} has {v} as {a} now.",
        "{name} switched the {a} to {v}.",
        "Now {name} has the {a} switched to {v}.",
        "{v} is now the {a} of {name}.",
        "Today {name} chose {v} as {a}.",
        "{name} told me that the {a} is {v}.",
        "{name} told us today that {v} is the {a}.",
        "For {name}, the {a} is now {v}.",
        "{name} went with {v} as {a} today.",
        "The {a} of {name} is {v} from today.",
        "From today {name} has {v} as the {a}.",
        "{name} decided on {v} as the {a}.",
        "It is {v} now, the {a} of {name}.",
        "{name} settled on {v} for the {a}.",
        "I heard that {name} settled on {v} as the {a}.",
        "As {a}, {name} now has {v}.",
        "Speaking of the {a}, {name} has {v} now.",
        "The {a} that {name} has now is {v}.",
        "{name} decided today: {v} is now the {a}.",
        "{name} picked {v} as the {a}.",
        "{name} has taken {v} as the {a} now.",
        "{v} it is now: the {a} of {name}.",
        "{name} has picked {v} as the {a} now.",
        "{name} got {v} as {a}.",
        "{name} has {v} for the {a} at present.",
        "As far as the {a} goes, {name} has {v} now.",
        "{name} got {v} as the {a} today.",
        "{name} made {v} the {a}.",
        "The {a} of {name}? It is {v} now.",
        "{name} is happy with {v} as {a}.",
        "{name} is happy: the {a} is {v} now.",
    ),
    "correct": (
        "Sorry, I misspoke: {name}'s {a} is {v}, not {old}.",
        "Correction: the {a} of {name} is {v}, not {old}.",
        "I was wrong about {name}, the {a} is {v} and not {old}.",
        "Sorry, I was wrong: {v}, not {old}, is {name}'s {a}.",
        "Actually not {old}, I meant {v} as {name}'s {a}.",
        "My mistake, {name} has {v} as {a}, not {old}.",
        "I misspoke about {name}: not {old} but {v} is the {a}.",
        "Actually I misspoke, {name}'s {a} is {v} and not {old}.",
        "Wait, {name}'s {a} is {v}, I said {old} by mistake.",
        "I said {old}, but the {a} of {name} is {v}.",
        "Let me correct that: {name} has {v}, not {old}, as {a}.",
        "I said {old} by mistake, {name} has {v} as {a}.",
        "I got it wrong: {v} is {name}'s {a}, not {old}.",
        "It was wrong to say {old}, {name}'s {a} is {v}.",
        "{name}'s {a} is {v}, I mixed it up with {old}.",
        "I mixed it up: {name}'s {a} is {v}, not {old}.",
    ),
    "plan": (
        "{name} is planning the {v} for the weekend.",
        "{name} made a plan for the {v}.",
        "The plan of {name} is the {v}.",
        "{name} is making a plan: the {v} at the weekend.",
        "{name} wants to hold the {v} soon.",
        "Next on {name}'s list is the {v}.",
        "{name} invited us to the {v}.",
        "{name} wants us to come to the {v} soon.",
        "{name} hopes to hold the {v} next week.",
        "There will be the {v}, says {name}.",
        "{name} thinks of the {v} for next week.",
        "{name} hopes for the {v} at the weekend.",
    ),
    "off": (
        "{name} called off the {v}.",
        "The {v} is off, {name} told me.",
        "{name} cancelled the {v} after all.",
        "{name} told me that the {v} is called off.",
        "{name} dropped the {v}, it will not happen.",
        "No {v} any more, {name} cancelled.",
        "{name} had to call off the {v}.",
        "{name} cancelled, so the {v} will not happen.",
    ),
    "stands": (
        "{name} nearly called off the {v}, but it stands.",
        "{name} almost cancelled the {v}, but it will happen.",
        "The {v} of {name} was at risk, but it stands.",
        "{name} almost called off the {v}, it stands though.",
    ),
    "event": (
        "{name} went to the {v} today.",
        "Today was the {v}, {name} was there.",
        "{name} came back from the {v}.",
        "{name} was at the {v} today.",
        "The {v} was today and {name} saw it.",
        "{name} was there when the {v} happened.",
        "The {v} happened, {name} took part.",
        "{name} took part in the {v} today.",
        "{name} spent the day at the {v}.",
        "{name} saw the {v} today.",
        "The {v} took place, {name} went there.",
        "{name} saw the {v}, it took place today.",
    ),
    "considered": (
        "{name} thought about {v} as {a}, but did not switch.",
        "{name} considered {v} as the {a}, but decided against it.",
        "For the {a}, {name} looked at {v}, but nothing changed.",
        "{name} thought about {v} as the {a}, but decided against it.",
        "{name} was tempted by {v} as {a}, but did not switch.",
        "{v} as {a} was an idea of {name}, but nothing changed.",
        "{name} nearly took {v} as {a}, but decided against it.",
        "{name} looked at {v} as {a}, but did not switch.",
    ),
    "suggestion": (
        "Any idea for the {a} of {name}?",
        "What would you suggest as {a} for {name}?",
        "{name} asks you for {a} ideas.",
        "Would you have an idea for {name}'s {a}?",
        "Help me with the {a} of {name}, please.",
        "Which {a} would suit {name}?",
        "Tell me a good {a} for {name}.",
        "Please suggest a good {a} for {name}.",
    ),
    "mention": (
        "Someone asked about {name}'s {a} again.",
        "People keep talking about the {a} of {name}.",
        "We talked about {name} and the {a} at lunch.",
        "Someone talked about {name}'s {a} again.",
        "The {a} of {name} came up again.",
        "I wonder how {name} feels about the {a}.",
        "Nobody likes the {a} of {name}.",
        "At lunch people asked about the {a} of {name}.",
    ),
    "said": (
        "{name} says the {a} is {v}.",
        "According to {name}, the {a} is {v}.",
        "{name} said the {a} was {v}.",
        "The {a} is {v}, says {name}.",
        "{name} finds the {a} {v}.",
        "The {a} was {v}, according to {name}.",
        "{name} complained that the {a} is {v}.",
        "{name} finds that the {a} is {v}.",
    ),
    "came": (
        "{name} came by this morning.",
        "{name} visited me at home.",
        "This morning {name} dropped in.",
        "{name} dropped in this morning.",
        "I had {name} over for tea.",
        "{name} rang and came in.",
        "I opened, it was {name}.",
        "I had {name} over at home.",
    ),
    "gift": (
        "The gift was a {v}, how kind.",
        "There was a gift for me, a {v}.",
        "I was given a {v} as a gift.",
        "What a kind gift, a {v} for me.",
        "A {v} was the gift this time.",
        "I got a lovely {v} as a gift.",
        "I unwrapped the gift, a {v}.",
        "I got the gift, it was a {v}.",
    ),
    "nickname": (
        "Everyone calls {name} {a} these days.",
        "The nickname of {name} is {a}.",
        "{name} goes by {a} among friends.",
        "Among friends everyone calls {name} {a}.",
        "We gave {name} the nickname {a}.",
        "Friends say {a} when they mean {name}.",
        "{name} likes the nickname {a}.",
        "{name} got the nickname {a} from friends.",
    ),
    "borrowed": (
        "{a} borrowed my {v}.",
        "I lent {a} my {v}.",
        "My {v} is with {a} for a week.",
        "I lent my {v} to {a} for a week.",
        "{a} needed my {v} and took it.",
        "{a} has borrowed the {v} from me.",
        "I let {a} take the {v}.",
        "{a} took my {v} for a week.",
    ),
    "donated": (
        "{name} donated a {v} to the fair.",
        "{name} gave a {v} to the fair.",
        "The fair got a {v} from {name}.",
        "{name} gave the fair a {v}.",
        "A {v} went from {name} to the fair.",
        "{name} left a {v} at the fair as a donation.",
        "As a donation, {name} took a {v} to the fair.",
        "{name} took a {v} to the fair.",
    ),
    "talk": (
        "It has been raining all day.",
        "I slept badly last night.",
        "My tea is getting cold.",
        "I slept all day and it has been raining.",
        "The bus was late again.",
        "I need more coffee.",
        "The weekend was too short.",
        "The bus was late and I need more tea.",
    ),
}
OPENERS = (
    "By the way, ",
    "Oh, ",
    "So, ",
    "Oh, by the way, ",
    "You know, ",
    "Well, ",
    "Just so you know: ",
    "So, you know: ",
    "One more thing: ",
    "Let me tell you: ",
    "Did I say? ",
    "Well, let me tell you: ",
)
CLOSERS = (
    ", I think",
    ", it seems",
    ", they say",
    ", it seems, they say",
    ", as far as I know",
    ", I hear",
    ", you know",
    ", I think, you know",
)
OPENED, CLOSED = 0.3, 0.2  # shares of statements
REPLIES = (
    "Okay.",
    "Noted.",
    "I see.",
    "Okay, I see.",
    "Got it.",
    "Thanks.",
    "Good to know.",
    "Okay, thanks.",
)
SUGGESTIONS = (
    "Maybe {v} would be nice.",
    "How about {v}?",
    "I suggest {v}.",
    "Maybe I would suggest {v}.",
    "You could try {v}.",
    "I would go for {v}.",
    "Try {v} perhaps.",
    "You could perhaps go for {v}.",
)
_STATEMENTS = {(kind, split): partition(texts, split) for kind, texts in STATEMENTS.items() for split in SPLITS}
_OPENERS = {split: partition(OPENERS, split) for split in SPLITS}
_CLOSERS = {split: partition(CLOSERS, split) for split in SPLITS}
_REPLIES = {split: partition(REPLIES, split) for split in SPLITS}
_SUGGESTIONS = {split: partition(SUGGESTIONS, split) for split in SPLITS}


def render(rng: random.Random, split: Split, beat: Beat) -> Segment:
    """The beat in one of the split's paraphrases between an opener and a closer, with a reply."""
    slots = {"name": beat.name, "a": beat.attribute, "v": beat.value, "old": beat.old}
    statement = rng.choice(_STATEMENTS[beat.kind, split])
    opener = rng.choice(_OPENERS[split]) if rng.random() < OPENED else ""
    if opener and not statement.startswith(("{", "I ")):
        statement = statement[0].lower() + statement[1:]
    if statement.endswith(".") and rng.random() < CLOSED:
        statement = statement[:-1] + rng.choice(_CLOSERS[split]) + "."
    user = opener + statement.format_map(slots)
    replies = _SUGGESTIONS if beat.kind == "suggestion" else _REPLIES
    return Segment(user=user[0].upper() + user[1:], assistant=rng.choice(replies[split]).format_map(slots))
