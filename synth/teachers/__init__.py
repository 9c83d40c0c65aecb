"""How teachers are asked: one bounded call, what its answer is taken for, and what follows from each fault."""
