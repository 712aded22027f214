"""The engine: a request all the way through. Read `engine` first."""

from typing import TYPE_CHECKING

from .engine import Engine as Engine
from .proposal import Proposal as Proposal

if TYPE_CHECKING:
    from .team import AgentLike as AgentLike
    from .team import assemble_team as assemble_team
    from .team import register_agents as register_agents
    from .together import JointProposal as JointProposal
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "team": "AgentLike assemble_team register_agents",
            "together": "JointProposal",
        },
    )
