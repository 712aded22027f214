"""Public fakes, for the tests of whoever uses kapelle: models, agents and a clock that do as they are told."""

from .fakes import LoopHeartbeat as LoopHeartbeat
from .fakes import ScriptedAgent as ScriptedAgent
from .fakes import ScriptedModel as ScriptedModel
from .fakes import VirtualClock as VirtualClock
