"""The engine: a request all the way through. Read `engine` first."""

from .engine import Engine as Engine
from .proposal import Proposal as Proposal
from .team import AgentLike as AgentLike
from .team import assemble_team as assemble_team
from .team import register_agents as register_agents
from .together import JointProposal as JointProposal
