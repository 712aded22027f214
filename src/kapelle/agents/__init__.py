from .agent import Agent as Agent
from .agent import AgentResult as AgentResult
from .agent import TaskContext as TaskContext
from .capability import AgentCapability as AgentCapability
