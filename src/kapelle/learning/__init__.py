"""Learning: what `kapelle learn` makes of the outcomes in a ledger, and the reward model that weighs plans."""

from .learned import Learned as Learned
from .learned import Lessons as Lessons
from .learned import find_unreadable as find_unreadable
from .learned import learn as learn
from .learned import learned_folder as learned_folder
from .learned import load_learned as load_learned
from .reward_model import LearnedRewardModel as LearnedRewardModel
from .reward_model import TaskOutcome as TaskOutcome
