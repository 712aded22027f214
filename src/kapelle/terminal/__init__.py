"""What a person sees in a terminal."""

from . import terminal as terminal
