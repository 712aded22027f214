"""Limits: what a user allows a run, checked once."""

from .run_limits import Terms as Terms
