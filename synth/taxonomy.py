"""The kinds of question that generators ask, each in a family. Adding a kind means adding one entry."""

from __future__ import annotations

from typing import NamedTuple

from evoembedding.synth.simulator.builders import asides, events, tracks
from evoembedding.synth.simulator.builders.told import Builder

KINDS = ("dialogue", "web", "memory")  # of contexts
PERSONAL = ("dialogue", "memory")  # contexts in which a person's state changes
DIALOGUE = ("dialogue",)
# Goes for every type, so that no instruction repeats it.
RULES = (
    "The question must have exactly one right answer, which is short, and must not be answerable without the context. "
    "It names people and things as the context does, never mentions segments or their numbers, and does not hold its "
    "answer, unless it names the possible answers to choose from. The evidence is every segment that is needed to "
    "answer, and no other."
)


class QuestionType(NamedTuple):
    """A kind of question, what a context needs to carry it, and how a teacher and the simulator ask it."""

    name: str
    family: str
    description: str  # what it asks for
    instruction: str  # to a teacher; RULES go for all
    example: str
    kinds: tuple[str, ...] = KINDS  # of contexts that can carry it
    min_segments: int = 4  # the fewest segments that can carry it
    weight: float = 1.0  # how often it is drawn
    derived_answer: bool = False  # computed from the evidence, need not occur in it
    choice: bool = False  # the question names the possible answers
    builder: Builder | None = None  # how the simulator asks it


_TYPES = (
    # recall
    QuestionType(
        "cloze",
        "recall",
        "the masked term of a sentence",
        "Copy a sentence that says something particular and put ____ in place of one term that occurs in no other "
        "segment.",
        "Context: The harbour was built by Ferdinand in spring. It burned down nine years later. "
        "Question: The harbour was built by ____ in spring. Answer: Ferdinand",
        min_segments=2,
        weight=0.0,  # made from documents by synth.cloze, never drawn
    ),
    QuestionType(
        "stable_fact",
        "recall",
        "a fact stated once",
        "Ask for a specific detail (a name, a place, a thing, an amount) that one segment states and no other segment "
        "changes or repeats.",
        "Context: Mira keeps bees behind the old mill. Tom repairs clocks. "
        "Question: What does Mira keep behind the mill? Answer: bees",
        min_segments=2,
        builder=tracks.STABLE_FACT,
    ),
    QuestionType(
        "who_said",
        "recall",
        "who made a remark",
        "Paraphrase a remark, claim or judgement that exactly one person or organisation of the context made, and ask "
        "who made it.",
        "Context: Nora finds the museum gloomy. Ivo calls it charming. "
        "Question: Who thinks the museum is gloomy? Answer: Nora",
        min_segments=2,
        builder=asides.WHO_SAID,
    ),
    QuestionType(
        "reverse_lookup",
        "recall",
        "who or what has a given property",
        "Give a property or value that the context states of one person or thing only, and ask for its holder.",
        "Context: Lena plays the cello. Omar plays the flute. Question: Who plays the cello? Answer: Lena",
        min_segments=2,
        builder=tracks.REVERSE_LOOKUP,
    ),
    QuestionType(
        "participant",
        "recall",
        "who took part in an event",
        "Name an event of the context by what it was, and ask for the one person or group told to have taken part in "
        "a certain role.",
        "Context: Today was the regatta, Ravi was there. Pia stayed home. "
        "Question: Who was at the regatta? Answer: Ravi",
        min_segments=2,
        builder=events.PARTICIPANT,
    ),
    # coreference
    QuestionType(
        "pronoun",
        "coreference",
        "a statement whose subject is named one segment earlier",
        "Find a statement whose subject is only a pronoun or left out, because an earlier segment names it. Ask what "
        "was stated, naming the subject.",
        "Context: Ada came by this morning. She left me a vase. Question: What did Ada leave me? Answer: a vase",
        builder=asides.PRONOUN,
    ),
    QuestionType(
        "pronoun_subject",
        "coreference",
        "whom a pronoun or an omitted subject stands for",
        "Find an action whose doer is only a pronoun or left out, because another segment names the doer. Ask who did "
        "it; the evidence is the action and the naming.",
        "Context: Ada came by this morning. She left me a vase. Question: Who left me a vase? Answer: Ada",
        builder=asides.PRONOUN_SUBJECT,
    ),
    QuestionType(
        "nickname",
        "coreference",
        "a statement about a person under a nickname",
        "Find a fact told under a nickname, title, abbreviation or description that another segment explains. Ask for "
        "the fact using the full name only.",
        "Context: Everyone calls Oren Captain. Captain borrowed my drill. "
        "Question: What did Oren borrow? Answer: drill",
        builder=asides.NICKNAME,
    ),
    QuestionType(
        "alias",
        "coreference",
        "who or what goes by another name",
        "Give a nickname, abbreviation or other name that the context explains, and ask for the full name behind it.",
        "Context: Everyone calls Oren Captain. Captain borrowed my drill. "
        "Question: Whose nickname is Captain? Answer: Oren",
        min_segments=2,
        builder=asides.ALIAS,
    ),
    # temporal
    QuestionType(
        "first",
        "temporal",
        "the first value of an attribute that changed",
        "Choose something that took at least two values over the context, and ask which value it had first. All "
        "values must be of one person or thing.",
        "Context: Mira works at Norlin. Mira moved on to Delta. Question: Where did Mira work at first? Answer: Norlin",
        weight=1.5,
        builder=tracks.FIRST,
    ),
    QuestionType(
        "last",
        "temporal",
        "the last of several events of one kind",
        "Choose events of one kind (visits, gifts, releases, battles) of which the context tells at least two in a "
        "clear order, and ask for the last of them.",
        "Context: Tom gave a lamp to the fair. Later he gave a rug. Question: What did Tom give last? Answer: a rug",
        builder=asides.LAST,
    ),
    QuestionType(
        "middle",
        "temporal",
        "what came between two others",
        "Choose three consecutive values or events of one person or thing, name the outer two and ask for the one "
        "between them.",
        "Context: Ivo lived in Oslo, then moved to Bern. Last week he moved to Lima. "
        "Question: Where did Ivo live between Oslo and Lima? Answer: Bern",
        builder=tracks.MIDDLE,
    ),
    QuestionType(
        "order_second",
        "temporal",
        "the second value of an attribute that changed",
        "Choose something that took at least three values or steps in a clear order, and ask which came second.",
        "Context: Ivo lived in Oslo, then moved to Bern. Last week he moved to Lima. "
        "Question: What was the second city Ivo lived in? Answer: Bern",
        builder=tracks.ORDER_SECOND,
    ),
    QuestionType(
        "before_event",
        "temporal",
        "the value in force just before an event",
        "Choose something that changed over the context and an unrelated event told in between. Ask which value was "
        "in force just before the event.",
        "Context: Nora drives a van. Today was the gala. Nora now drives a truck. "
        "Question: What did Nora drive before the gala? Answer: a van",
        weight=1.5,
        builder=events.BEFORE_EVENT,
    ),
    QuestionType(
        "after_event",
        "temporal",
        "the first value set after an event",
        "Choose something that changed over the context and an unrelated event told in between. Ask which value came "
        "first after the event.",
        "Context: Nora drives a van. Today was the gala. Nora now drives a truck. "
        "Question: What did Nora drive next after the gala? Answer: a truck",
        builder=events.AFTER_EVENT,
    ),
    QuestionType(
        "original_plan",
        "temporal",
        "the first plan among several",
        "Choose a person or group that made more than one plan or proposal for something, and ask for the earliest "
        "one, whatever became of it.",
        "Context: Pia plans a picnic. Pia dropped it and plans a cruise. "
        "Question: What did Pia plan originally? Answer: a picnic",
        builder=asides.ORIGINAL_PLAN,
    ),
    QuestionType(
        "event_order",
        "temporal",
        "which of two events came first",
        "Name two events told in different segments and ask which came first or last. Either must be possible without "
        "the context, and their order in the question must not follow their order in time.",
        "Context: Today was the storm. A week later came the parade. "
        "Question: Which came first, the parade or the storm? Answer: the storm",
        choice=True,
        builder=events.EVENT_ORDER,
    ),
    QuestionType(
        "when",
        "temporal",
        "when something happened",
        "Ask on which day, date, year or occasion something happened, where the context states the time or gives what "
        "is needed to work it out.",
        "Context: The talk is two days after the exam. The exam is on Monday. "
        "Question: On which day is the talk? Answer: Wednesday",
        derived_answer=True,
    ),
    QuestionType(
        "duration",
        "temporal",
        "how long something lasted",
        "Ask how long something lasted or how much time lay between two events, preferably to be worked out from "
        "times in different segments. The answer has a unit.",
        "Context: Lena left for Rome on 3 May. She was back on 9 May. "
        "Question: How many days was Lena away? Answer: six days",
        derived_answer=True,
    ),
    QuestionType(
        "frequency",
        "temporal",
        "how often something happened",
        "Choose an action or event that the context tells of two to six times in different segments, and ask how often "
        "it happened. The answer is a number in words.",
        "Context: Tom missed the bus on Monday. Nora cooked. Tom missed it again on Friday. "
        "Question: How often did Tom miss the bus? Answer: two",
        derived_answer=True,
        builder=tracks.FREQUENCY,
    ),
    # knowledge update
    QuestionType(
        "latest",
        "knowledge_update",
        "the value in force at the end",
        "Choose something that changed at least once over the context, and ask for its value now. A reader of the "
        "earlier segments alone would answer wrongly.",
        "Context: Mira has a parrot. Mira gave it away and got a dog. "
        "Question: Which pet does Mira have now? Answer: a dog",
        kinds=PERSONAL,
        weight=2.0,
        builder=tracks.LATEST,
    ),
    QuestionType(
        "previous",
        "knowledge_update",
        "the value that the latest one replaced",
        "Choose something that changed at least twice, and ask for the value just before the present one, naming "
        "neither.",
        "Context: Ivo lived in Oslo, then moved to Bern. Last week he moved to Lima. "
        "Question: Where did Ivo live before he moved to his present city? Answer: Bern",
        kinds=PERSONAL,
        builder=tracks.PREVIOUS,
    ),
    QuestionType(
        "correction",
        "knowledge_update",
        "the value of the last correction",
        "Find a statement that a later segment takes back as a mistake, and ask what is right. A change in the world "
        "is not a correction.",
        "Context: The exam is on Monday. Sorry, I misspoke, it is on Friday. "
        "Question: To which day did I correct the exam? Answer: Friday",
        kinds=PERSONAL,
        weight=1.5,
        builder=tracks.CORRECTION,
    ),
    QuestionType(
        "misstatement",
        "knowledge_update",
        "what was said by mistake and corrected later",
        "Find a statement that a later segment takes back as a mistake, and ask what was wrongly said at first; the "
        "evidence is the statement and its correction.",
        "Context: The exam is on Monday. Sorry, I misspoke, it is on Friday. "
        "Question: On which day did I wrongly say the exam was? Answer: Monday",
        kinds=PERSONAL,
        builder=tracks.MISSTATEMENT,
    ),
    QuestionType(
        "cancellation",
        "knowledge_update",
        "the plan called off last",
        "Choose a person or group with plans of which at least one is called off in a later segment, and ask which was "
        "called off (last, if several were).",
        "Context: Pia plans a picnic and a cruise. Pia called off the picnic. "
        "Question: Which plan did Pia call off? Answer: the picnic",
        kinds=PERSONAL,
        weight=1.5,
        builder=asides.CANCELLATION,
    ),
    QuestionType(
        "current_plan",
        "knowledge_update",
        "the plan that still stands",
        "Choose a person or group with several plans of which all but one are called off or replaced, and ask which "
        "one still stands.",
        "Context: Pia plans a picnic and a cruise. Pia called off the picnic. "
        "Question: Which plan of Pia still stands? Answer: a cruise",
        kinds=PERSONAL,
        builder=asides.CURRENT_PLAN,
    ),
    QuestionType(
        "successor",
        "knowledge_update",
        "what replaced a given value",
        "Choose something that changed, name one of its earlier values, and ask which value came right after it.",
        "Context: Nora's band was Vesper. Nora left it and joined Halcyon. "
        "Question: What replaced Vesper as Nora's band? Answer: Halcyon",
        kinds=PERSONAL,
        builder=tracks.SUCCESSOR,
    ),
    QuestionType(
        "at_time",
        "knowledge_update",
        "the value in force at a stated time",
        "Choose something that changed and a date, age or period for which the context settles its value. Ask for the "
        "value at that time; it should not be the latest one.",
        "Context: In 2019 Omar was a cook. In 2022 he became a pilot. "
        "Question: What was Omar's job in 2020? Answer: cook",
        kinds=PERSONAL,
    ),
    QuestionType(
        "what_changed",
        "knowledge_update",
        "which of several things changed",
        "Choose a person, thing or plan of which several details are told and exactly one is changed by a later "
        "segment. Ask which detail changed, without naming it.",
        "Context: Tea with Ada is at four in the garden. It rains, so the tea will be in the hall. "
        "Question: What about the tea with Ada changed? Answer: the place",
        kinds=PERSONAL,
        derived_answer=True,
    ),
    # multi-hop
    QuestionType(
        "bridge",
        "multi_hop",
        "the latest value of a person known only by an event",
        "Describe a person or thing by a fact from one segment, without the name, and ask for a fact from another "
        "segment where only the name occurs.",
        "Context: Ravi was at the regatta. Ravi works at Norlin. "
        "Question: Where does the person who was at the regatta work? Answer: Norlin",
        weight=1.5,
        builder=events.BRIDGE,
    ),
    QuestionType(
        "chain",
        "multi_hop",
        "a fact reached over two other facts",
        "Join three segments, each of which names something that leads to the next. Ask from the first to the last, "
        "naming nothing in between.",
        "Context: The lamp came from Ada. Ada's brother is Tom. Tom lives in Bern. "
        "Question: Where does the brother of the giver of the lamp live? Answer: Bern",
        min_segments=5,
        builder=asides.CHAIN,
    ),
    QuestionType(
        "comparison",
        "multi_hop",
        "which of two has more of something",
        "Name two people or things and ask which is larger, older, earlier or more frequent, where the facts to "
        "compare are in different segments and neither segment compares them.",
        "Context: Lena is 34 years old. Tom painted the door. Omar is 29. "
        "Question: Who is older, Lena or Omar? Answer: Lena",
        choice=True,
        builder=tracks.COMPARISON,
    ),
    QuestionType(
        "intersection",
        "multi_hop",
        "the one that meets two conditions",
        "Give two conditions told in different segments. Each must hold for several people or things and both for "
        "exactly one: ask for it.",
        "Context: Ada and Tom play chess. Nora was late. Tom and Pia sing in the choir. "
        "Question: Who plays chess and sings in the choir? Answer: Tom",
        min_segments=5,
    ),
    # aggregation
    QuestionType(
        "count",
        "aggregation",
        "how many there are of a kind",
        "Choose people or things of one kind that are told of in different segments, at least two and at most six in "
        "all, and ask how many there are. The answer is a number in words that no segment states.",
        "Context: Tom gave a lamp to the fair. Nora sang. Tom gave a rug too. "
        "Question: How many things did Tom give to the fair? Answer: two",
        derived_answer=True,
        builder=asides.COUNT,
    ),
    QuestionType(
        "listing",
        "aggregation",
        "all members of a kind",
        "Choose two to five things of one kind that are told of in different segments, and ask for all of them. The "
        "answer lists them in the order told, between commas.",
        "Context: Tom gave a lamp to the fair. Nora sang. Tom gave a rug too. "
        "Question: Which things did Tom give to the fair? Answer: lamp, rug",
        derived_answer=True,
        builder=asides.LISTING,
    ),
    QuestionType(
        "change_count",
        "aggregation",
        "how many values something took as it changed",
        "Choose something that took two to six different values, none of them told by mistake, and ask how many. The "
        "answer is a number in words that no segment states.",
        "Context: Ivo lived in Oslo, then moved to Bern. Last week he moved to Lima. "
        "Question: In how many cities has Ivo lived? Answer: three",
        derived_answer=True,
        builder=tracks.CHANGE_COUNT,
    ),
    QuestionType(
        "total",
        "aggregation",
        "the sum or difference of stated amounts",
        "Choose two to four amounts of one unit that different segments state, and ask for their sum or difference, "
        "which no segment states. The answer has the unit.",
        "Context: The tent cost 80 euros. It rained on Sunday. The stove cost 45 euros. "
        "Question: How much did the tent and the stove cost together? Answer: 125 euros",
        derived_answer=True,
    ),
    # preference
    QuestionType(
        "opinion",
        "preference",
        "what a person thinks of something",
        "Ask what one person thinks of a thing, place or idea, where the context tells that opinion once. Other people "
        "may think otherwise.",
        "Context: Nora finds the museum gloomy. Ivo calls it charming. "
        "Question: What does Ivo think of the museum? Answer: charming",
        kinds=PERSONAL,
        min_segments=2,
        builder=asides.OPINION,
    ),
    QuestionType(
        "preference",
        "preference",
        "what a person likes or dislikes",
        "Ask what a person likes, prefers, avoids or dislikes within some kind of thing, preferably where it shows "
        "in what the person says or does rather than in the word 'prefer'.",
        "Context: Pia always takes the window seat. Omar sleeps on trains. "
        "Question: Which seat does Pia prefer on trains? Answer: the window seat",
        kinds=PERSONAL,
    ),
    QuestionType(
        "recommendation",
        "preference",
        "which of two options suits a person",
        "Name two options and ask which one suits a person, where a taste, need or limit told in the context leaves "
        "only one.",
        "Context: Lena cannot eat nuts. Tom bakes on Sundays. "
        "Question: Which cake could Tom serve Lena, almond or lemon? Answer: lemon",
        kinds=PERSONAL,
        derived_answer=True,
        choice=True,
    ),
    QuestionType(
        "persona",
        "preference",
        "a lasting role, trait or habit of a person",
        "Ask for a job, relation, background, trait or habit of a person that the context shows in passing, without "
        "it being the topic of the segment.",
        "Context: Sorry for the delay, my shift at the hospital ran late again. Let us plan the trip. "
        "Question: Where do I work? Answer: at the hospital",
        kinds=PERSONAL,
        min_segments=2,
    ),
    # reasoning
    QuestionType(
        "cause",
        "reasoning",
        "why something happened",
        "Ask why something happened or was decided, where the reason is told in another segment or must be put "
        "together. The answer is a phrase of a few words from the context.",
        "Context: The road was flooded. Ravi took the train instead. "
        "Question: Why did Ravi take the train? Answer: the road was flooded",
    ),
    QuestionType(
        "consequence",
        "reasoning",
        "what something led to",
        "Ask what followed from an event or decision, where the effect is told in another segment. The answer is a "
        "phrase of a few words from the context.",
        "Context: The oven broke on Friday. So the bakery sold only salads. "
        "Question: What did the broken oven lead the bakery to sell? Answer: only salads",
    ),
    QuestionType(
        "contradiction",
        "reasoning",
        "what two statements disagree about",
        "Find two statements of different segments that cannot both be true and are not reconciled by a correction or "
        "a change. Ask on what they disagree, or whose statement contradicts a given one.",
        "Context: Ada says the shop opens at eight. Tom came late. Ivo says it never opens before nine. "
        "Question: Who contradicts Ada about the shop? Answer: Ivo",
    ),
    QuestionType(
        "yes_no",
        "reasoning",
        "whether something is so",
        "Ask whether something is so that no segment states outright but at least two segments together settle. "
        "Answer yes or no; both must seem possible without the context.",
        "Context: Nora drives a van. Today was the gala. Nora now drives a truck. "
        "Question: Has Nora changed her car since the gala? Answer: yes",
        derived_answer=True,
        choice=True,
        builder=events.YES_NO,
    ),
    # discourse
    QuestionType(
        "considered",
        "discourse",
        "a value weighed and not chosen",
        "Find an option that someone weighed and did not take, and ask which it was, saying that it was not taken.",
        "Context: Lena thought about a tent, but did not buy it. She bought a stove. "
        "Question: What did Lena think about but not buy? Answer: a tent",
        kinds=PERSONAL,
        min_segments=2,
        builder=asides.CONSIDERED,
    ),
    QuestionType(
        "suggestion",
        "discourse",
        "what the assistant proposed",
        "Ask what the assistant suggested, recommended or offered on some matter, where it did so once.",
        "Context: User: What should I cook? Assistant: How about lentils? "
        "Question: What did you suggest that I cook? Answer: lentils",
        kinds=DIALOGUE,
        min_segments=2,
        builder=asides.SUGGESTION,
    ),
    QuestionType(
        "request",
        "discourse",
        "what, or for whom, something was asked",
        "Ask what a speaker asked for, or for whom, where the request was made once, whether or not it was answered.",
        "Context: User: Can you find a name for Tom's boat? Assistant: Try Heron. "
        "Question: For whose boat did I ask you to find a name? Answer: Tom",
        kinds=DIALOGUE,
        min_segments=2,
        builder=asides.REQUEST,
    ),
    QuestionType(
        "who_promised",
        "discourse",
        "who promised something",
        "Find a promise, offer or commitment that one speaker or person made, and ask who made it, paraphrasing what "
        "was promised.",
        "Context: Pia said she would bring the keys. Omar only wanted to watch. "
        "Question: Who promised to bring the keys? Answer: Pia",
        kinds=DIALOGUE,
    ),
)
QUESTION_TYPES: dict[str, QuestionType] = {kind.name: kind for kind in _TYPES}

# Answering these needs the state of the world at some time, not only matching words.
STATE_TYPES = ("latest", "first", "before_event", "correction", "cancellation")


def carried_by(kind: str, segments: int) -> tuple[QuestionType, ...]:
    """The types that a context of this kind and length can carry, less those that are never drawn."""
    return tuple(t for t in _TYPES if t.weight > 0 and kind in t.kinds and segments >= t.min_segments)
