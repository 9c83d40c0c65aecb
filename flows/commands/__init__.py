"""The `evo` commands, a file a group."""
