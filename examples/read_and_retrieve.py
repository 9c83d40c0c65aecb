"""Read a conversation with a trained model, and retrieve from it what is right now.

python examples/read_and_retrieve.py .evo/runs/run-.../model
"""

from __future__ import annotations

import sys

from evoembedding import EvoEmbedder, Segment

TOLD = [
    Segment(user="I live in Lisbon.", assistant="A fine city."),
    Segment(user="My sister has a red bicycle."),
    Segment(user="I moved: I live in Porto now.", assistant="Good luck there!"),
]


def main(folder: str) -> None:
    """Read as it is told, and ask in between: the memory evolves, and asking does not change it."""
    embedder = EvoEmbedder.load(folder)
    session = embedder.session()
    for number, segment in enumerate(TOLD):
        session.append([segment])
        best = session.top("Where do I live now?", k=1)[0]
        print(f"after {number + 1}: {TOLD[best.segment].user} ({best.score:.3f})")
    print("scores:", session.score(["Where do I live now?", "Who has a bicycle?"]).round(3).tolist())
    static = EvoEmbedder.load(folder, memory=False)
    print("without memory:", TOLD[static.rerank("Where do I live now?", TOLD, k=1)[0].segment].user)


if __name__ == "__main__":
    main(*sys.argv[1:])
