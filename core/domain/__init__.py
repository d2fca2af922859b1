"""Frozen values and pure decisions: no HTTP, no database, the standard library only."""
