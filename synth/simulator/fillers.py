"""Names and values that worlds are filled with, split once into a training part and a held-out part."""

from __future__ import annotations

from collections.abc import Sequence

from evoembedding.schemas.episode import Split


def partition(items: Sequence[str], split: Split) -> tuple[str, ...]:
    """The split's part of the items: every fourth is held out."""
    # By place: what is put at a list's end moves no other item into the other split.
    return tuple(item for i, item in enumerate(items) if (i % 4 == 3) == (split == "heldout"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# 1,500 invented proper names. Nobody can guess them without the context, and as all of these attributes draw on them,
# a value does not give away its attribute.
INVENTED = tuple(
    first + middle + last
    for first in _words("Bran Cor Dor Fen Gren Hal Kest Lor Mer Nor Pel Quin Rav Sel Tor Ulm Ves Wex Yor Zan")
    for middle in _words("a e i o u")
    for last in _words("ck dale ford gate holm lin mark ner port rick stad ton vale ville wyn")
)
# Plain words; each occurs in one pool only, so that none is in both splits.
WORDS: dict[str, tuple[str, ...]] = {
    "hobby": _words("""
    pottery chess sailing painting yoga knitting archery gardening origami fencing surfing dancing juggling
    cycling rowing fishing weaving skating climbing reading bowling karate boxing swimming sketching hiking
    birding cooking sewing camping puzzles singing
    """),
    "pet": _words("""
    parrot hamster rabbit dog turtle ferret gecko cat goldfish canary tortoise horse lizard pony goat bird snake
    hedgehog duck mouse goose poodle beagle sheep kitten puppy frog chicken spider pigeon iguana pig
    """),
    "snack": _words("""
    popcorn pretzels almonds bread raisins yogurt crackers cheese cookies peanuts celery apples walnuts olives
    cashews chocolate bananas grapes pickles cake hummus carrots granola butter waffles muffins donuts oranges
    nachos toffee cherries eggs
    """),
    "colour": _words("""
    red teal purple blue orange beige pink green crimson indigo maroon white turquoise magenta lilac black
    yellow ivory khaki brown scarlet navy mauve gold amber cyan lavender silver ochre coral burgundy grey
    """),
}
# What a person can have one of at a time, and the pool of its values.
ATTRIBUTES: dict[str, str] = {
    **dict.fromkeys(_words("city employer team band college street club hotel"), "invented"),
    **{name: name for name in WORDS},
}
# 3,276 names from syllables: so many that a model must read a name, and cannot learn each as a word of its own.
NAMES = tuple(
    first + middle + last
    for first in _words("Al Be Ca Da El Fa Gi Ha Il Jo Ka Lu Ma Ne Ol Pa Ra Sa Ta Ur Va Wi Ya Ze Bro Cle Dru Sto")
    for middle in _words("la ri no ve mi do sa ne lo")
    for last in _words("na ra lo n sh ta ro la ni th da vio rin")
)
EVENTS = _words("""
    wedding marathon concert war storm festival exam election parade auction gala trial blackout funeral regatta
    match carnival premiere workshop conference banquet strike reunion party heatwave raffle tournament meeting
    graduation hackathon seminar fire
    """)
PLANS = _words("""
    picnic barbecue brunch walk sleepover bonfire safari trip cruise potluck roadtrip dinner tasting retreat
    scavenger game matinee karaoke jamboree race treasure excursion ballgame visit
    """)
GIFTS = _words("""
    candle scarf vase book mug blanket basket box bouquet necklace calendar letter teapot pillow poster picture
    bracelet umbrella notebook ring lantern wreath cushion watch
    """)
NICKNAMES = _words("""
    Pepper Ziggy Sparky Captain Biscuit Noodle Rocket Prince Pumpkin Tiger Bubbles Major Muffin Peanut Waffle
    King Dizzy Pickle Smiley Chief Jellybean Sunny Whiskers General
    """)
ITEMS = _words("""
    ladder hammer drill table tent kettle bicycle chair toaster camera jacket clock wrench suitcase radio glass
    blender shovel helmet paper racket stapler rope bed printer projector compass door tripod bucket heater
    stone
    """)
PLACES = _words("""
    museum bakery theatre church aquarium gallery gym school pharmacy cinema cafe hospital arcade stadium zoo
    station pool observatory diner market nursery sauna playground bridge
    """)
REMARKS = _words("""
    crowded noisy expensive open dusty charming freezing small modern gloomy spotless great boring elegant
    cramped old
    """)
POOLS: dict[str, tuple[str, ...]] = {
    **WORDS,
    "invented": INVENTED,
    "name": NAMES,
    "event": EVENTS,
    "plan": PLANS,
    "gift": GIFTS,
    "nickname": NICKNAMES,
    "item": ITEMS,
    "place": PLACES,
    "remark": REMARKS,
}
SPLITS: tuple[Split, ...] = ("train", "heldout")
_PARTS: dict[tuple[str, Split], tuple[str, ...]] = {
    (name, split): partition(pool, split) for name, pool in POOLS.items() for split in SPLITS
}


def fillers(pool: str, split: Split) -> tuple[str, ...]:
    """The split's part of a pool."""
    return _PARTS[pool, split]


def values(attribute: str, split: Split) -> tuple[str, ...]:
    """The split's values of an attribute."""
    return fillers(ATTRIBUTES[attribute], split)
