"""Failures, ours and other libraries', sorted once: their kind, whether they may pass, how long to wait."""

from .sorting import LASTING_ERRORS as LASTING_ERRORS
from .sorting import Failure as Failure
from .sorting import FailureKind as FailureKind
from .sorting import sort_failure as sort_failure
