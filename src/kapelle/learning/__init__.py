"""Learning: what `kapelle learn` makes of the outcomes in a ledger, and the reward model that weighs plans."""

from typing import TYPE_CHECKING

from .learned import LearnedModels as LearnedModels
from .learned import LearningReport as LearningReport
from .learned import RememberedPolicy as RememberedPolicy
from .learned import find_unreadable as find_unreadable
from .learned import learn as learn
from .learned import learned_folder as learned_folder
from .learned import load_learned as load_learned

if TYPE_CHECKING:
    from .reward_feed import RewardFeed as RewardFeed
    from .reward_model import LearnedRewardModel as LearnedRewardModel
    from .reward_model import TaskOutcome as TaskOutcome
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "reward_feed": "RewardFeed",
            "reward_model": "LearnedRewardModel TaskOutcome",
        },
    )
