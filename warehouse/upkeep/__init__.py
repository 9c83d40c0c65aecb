"""Upkeep: what a home needs beside its use: doctor, retention, backups."""
