"""Warehouses of an older schema, brought to that of this code: a step a version."""
