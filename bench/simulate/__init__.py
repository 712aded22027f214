"""Simulated runs: the real engine in worlds that a seed makes, judged by an independent model. See __main__."""
