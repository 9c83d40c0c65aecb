"""Stage 1: contexts from documents (web), from personas (dialogue), and of statements extracted from both (memory)."""
