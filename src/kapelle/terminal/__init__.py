"""What a person sees in a terminal."""

from . import joint as joint
from . import terminal as terminal
