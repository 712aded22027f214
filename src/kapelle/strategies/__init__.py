"""Strategies: one agent, a cascade or a vote for a task (strategy), what they check (checks), and which of them pay.

Which pay is read in outcomes (search, strategy_book). What needs NumPy (replay, search) is imported when it is first
asked for.
"""

from typing import TYPE_CHECKING

from .checks import Checks as Checks
from .declared import task_context as task_context
from .strategy import Accept as Accept
from .strategy import Answer as Answer
from .strategy import Ask as Ask
from .strategy import Cascade as Cascade
from .strategy import Check as Check
from .strategy import Examine as Examine
from .strategy import GiveUp as GiveUp
from .strategy import Single as Single
from .strategy import Strategy as Strategy
from .strategy import Vote as Vote
from .strategy import agents_of as agents_of
from .strategy import next_move as next_move
from .strategy import strategy_from_dict as strategy_from_dict
from .strategy import strategy_to_dict as strategy_to_dict
from .verdict import Validator as Validator
from .verdict import Verdict as Verdict
from .verdict import read_passed as read_passed

if TYPE_CHECKING:
    from .canonical import canonical_answer as canonical_answer
    from .hull import upper_hull as upper_hull
    from .replay import LoggedTable as LoggedTable
    from .replay import checks_of as checks_of
    from .search import find_strategies as find_strategies
    from .strategy_book import StrategyBook as StrategyBook
    from .strategy_book import read_outcomes as read_outcomes
    from .strategy_estimate import StrategyEstimate as StrategyEstimate
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "canonical": "canonical_answer",
            "hull": "upper_hull",
            "replay": "LoggedTable checks_of",
            "search": "find_strategies",
            "strategy_book": "StrategyBook read_outcomes",
            "strategy_estimate": "StrategyEstimate",
        },
    )
