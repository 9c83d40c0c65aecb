"""Synthesis: documents and simulated worlds become questions with evidence, and checks decide which are kept."""
