"""People to write dialogues about, drawn from a space of some 10^13 combinations, so that none comes twice."""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = _words("""
    Abel Ada Adrian Aiko Aisha Alba Amara Amir Ana Anders Anika Arjun Astrid Ayla Beatriz Bela Bram Camille Carlos
    Cem Chen Chidi Chloe Clara Dalia Daniel Daria Diego Dina Elena Eli Elif Emeka Emil Esme Farah Fatima Felix
    Finn Freya Gabriel Gita Grace Greta Hana Hassan Hugo Ibrahim Ilse Imani Ines Ingrid Isaac Ivan Jamal Jana
    Jonas Joana Kai Kamala Karim Katya Kenji Lars Laila Leo Lin Lucia Luka Maeve Magnus Malik Mara Marco Mei Milan
    Mina Mira Nadia Naomi Nia Nikhil Noor Nora Olga Omar Oren Oscar Otto Paula Pedro Petra Priya Rafael Rania Ravi
    Rosa Ruth Sami Sana Sofia Sven Tariq Teresa Thandi Tomas Uma Viktor Wanda Wei Yara Yusuf Zara Zoe
""")
FAMILY = _words("""
    Abara Adler Almeida Andersen Aoki Baker Banerjee Barros Becker Bergman Bianchi Blum Bosch Cardoso Castillo
    Chen Cohen Costa Dahl Diallo Doyle Duarte Eriksen Farouk Ferrari Fischer Fontaine Fujita Garcia Gomes Haddad
    Hansen Hoffman Ibarra Ito Jansen Jovanovic Kaya Keller Khan Kim Kovacs Larsen Lehmann Lopez Mancini Mbeki
    Mendez Moreau Nakamura Navarro Nguyen Novak Okafor Olsen Osei Park Patel Pereira Petrov Quist Rahman Reyes
    Rossi Sato Schmidt Silva Singh Sokolov Suzuki Takeda Tanaka Torres Vargas Vega Vidal Wagner Walsh Weber Yilmaz
    Zhang
""")
OCCUPATIONS = (
    "a nurse on night shifts", "a bicycle mechanic", "a translator of legal texts", "a baker", "a harbour pilot",
    "a primary school teacher", "a bookkeeper for small firms", "a beekeeper", "an emergency doctor", "a carpenter",
    "a radio producer", "a data analyst at a bank", "a tram driver", "a veterinary assistant", "a museum guard",
    "a freelance photographer", "a structural engineer", "a florist", "a physiotherapist", "a court clerk",
    "a pastry chef", "a marine biologist", "a piano tuner", "a warehouse supervisor", "a social worker",
    "a wine merchant", "a sound engineer", "a retired judge", "a student of chemistry", "a stage designer",
    "an optician", "a firefighter", "a software tester", "a seamstress", "an estate agent", "a farmer of olives",
    "a postal worker", "a game designer", "a librarian", "a ski instructor", "an accountant", "a glassblower",
)  # fmt: skip
HOUSEHOLDS = (
    "lives alone with a cat", "shares a flat with two friends", "is married with twins", "cares for an ageing father",
    "lives with a partner who travels a lot", "is a single parent of a teenager", "lives on a houseboat",
    "has just moved in with a sister", "lives with grandparents", "rents a room from a colleague",
    "lives with a partner and three dogs", "is newly divorced", "lives in a shared house of artists",
    "raises a foster child", "lives next door to an old school friend", "splits the year between two towns",
)  # fmt: skip
INTERESTS = (
    "restoring old radios", "long-distance swimming", "growing chillies", "amateur theatre", "chess problems",
    "birdwatching", "baking sourdough", "vintage motorbikes", "choir singing", "learning Portuguese", "pottery",
    "trail running", "astronomy", "board games", "genealogy", "street photography", "cycling tours", "jazz piano",
    "knitting", "mushroom hunting", "rock climbing", "calligraphy", "model trains", "kite surfing", "quiz nights",
    "beer brewing", "crime novels", "salsa dancing", "woodcarving", "volunteering at an animal shelter",
)  # fmt: skip
PROJECTS = (
    "is looking for another place to live", "plans a big family party", "thinks about changing jobs",
    "trains for a race", "renovates a kitchen", "saves for a long journey", "wants to buy a used car",
    "prepares for an exam", "plans a wedding", "is setting up a small business", "recovers from an injury",
    "organises a street festival", "writes a first novel", "adopts a pet", "is reorganising the finances",
    "plans to move abroad", "learns to drive", "looks for a school for a child", "sells inherited furniture",
    "is changing diet for health reasons",
)  # fmt: skip
MANNERS = (
    "writes short and dry messages", "writes chattily, with detours", "often corrects themselves",
    "is precise with dates and amounts", "jokes a lot", "is anxious and asks for reassurance",
    "changes their mind easily", "writes politely and at length", "is always in a hurry", "likes lists",
)  # fmt: skip
AGES = range(18, 86)


def persona(rng: random.Random) -> str:
    """One person in a sentence or two."""
    first, second = rng.sample(INTERESTS, 2)
    name = f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}"
    return (
        f"{name}, {rng.choice(AGES)}, {rng.choice(OCCUPATIONS)}, {rng.choice(HOUSEHOLDS)}, likes {first} and {second}, "
        f"{rng.choice(PROJECTS)} and {rng.choice(MANNERS)}."
    )
