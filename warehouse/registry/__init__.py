"""The registry of models: named versions, aliases that move between them, gates, and the one resolver of names."""
