"""Synthesis with teachers: the event loop, its plan, its report, and a vLLM of our own."""
