"""The four documented ways to let agents work together, each a graph on the one executor."""

from .orchestrator import AgentOrchestrator as AgentOrchestrator
from .orchestrator import AgentType as AgentType
from .orchestrator import PatternResult as PatternResult
from .orchestrator import StepResult as StepResult
from .votes import Consensus as Consensus
