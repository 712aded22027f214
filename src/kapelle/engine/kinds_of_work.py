"""Kinds of work, by who is asked for them first: the folder that a user gave, a program, or whoever can."""

from __future__ import annotations

from kapelle.agents import WRITTEN_TYPES

DATA_TYPES = ("lookup", "search", "research", "sql", "query", "aggregate", "count")
"""Work that the folder a user gave is asked for first."""
EXACT_TYPES = ("compare", "combine", "join", "python", "compute", "calculate")
"""Work on what a folder gave in which a program makes no mistakes; what it cannot do it refuses."""
HARMLESS_TYPES = WRITTEN_TYPES.union(DATA_TYPES, EXACT_TYPES)
"""Work that changes nothing outside, so that a word near it may be read as it."""
