"""Signals, and a clean end of the process."""

from .signals import drive as drive
from .signals import leave as leave
