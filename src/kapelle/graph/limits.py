"""How large a plan may be that comes from outside."""

MAX_TASKS = 10_000
"""Far more than a model writes or a person reads, and what levels and paths of are still found in milliseconds."""
