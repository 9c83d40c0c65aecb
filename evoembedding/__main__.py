"""`python -m evoembedding` is `evo`."""

from evoembedding.flows.commands.entry import main

main()
