"""From a folder of your own documents to a published dataset version.

    python examples/own_documents.py notes/

State lies under $EVO_HOME, by default ./.evo. A rerun after a change reads what is new or changed, and publishes the
next version; without a change it does nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

NAME, CONTEXTS = "notes", "20"  # simulated dialogues beside the questions on documents


def evo(*words: str) -> Any:
    """A command's answer. What went wrong is a sentence on standard error, and the exit code."""
    done = subprocess.run([sys.executable, "-m", "evoembedding", *words, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def main(folder: str) -> None:
    """Ingest, synthesize, publish."""
    read = evo("ingest", folder, "--sync")
    print(f"{read['read']} documents read: {read['new']} new, {read['changed']} changed, {read['gone']} gone")
    made = evo("synthesize", "smallest", "--contexts", CONTEXTS)
    print(f"{made['new_episodes']} new episodes")
    version = evo("dataset", "publish", NAME, "--recipe", "smallest", "--contexts", CONTEXTS)
    print(f"{version['name']}@{version['number']}: {version['episodes']} episodes, digest {version['digest'][:12]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
