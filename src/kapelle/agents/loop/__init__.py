"""Agents that act: a model in a loop with tools."""
