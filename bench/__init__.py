"""Benchmarks: `python -m bench.<name> [--seed N] [--json]`; baselines run in the same run."""
