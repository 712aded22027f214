"""RewardFeed: hands a reward model what was measured in runs, on the scale that the validator scores plans on.

Only what a check, a validator of the user's or a person measured counts: nobody's word on their own work does. Costs
and times lie between those that the agents at hand are expected to take: 0 is the least, 1 the most. A file that cannot
be written fails no run; what was learned is kept, and written the next time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput
from kapelle.estimates import CostProfiler, Estimate
from kapelle.graph import Task
from kapelle.ledger import Outcome
from kapelle.redaction import get_logger

from .reward_model import LearnedRewardModel, TaskOutcome

logger = get_logger(__name__)

MEASURED_BY = ("check", "person")


class RewardFeed:
    """Feeds one reward model. Learns nothing itself."""

    def __init__(
        self, model: LearnedRewardModel, profiler: CostProfiler, agents: Mapping[str, AgentCapability]
    ) -> None:
        self._model = model
        self._profiler = profiler
        self._agents = agents

    def take(self, outcome: Outcome) -> None:
        """Let the model learn from an outcome, if somebody measured it. Before the profiler learns from it, too."""
        agent = self._agents.get(outcome.agent)
        if agent is None or outcome.quality is None or outcome.measured_by not in MEASURED_BY:
            return
        task = Task(task_id=outcome.task_id, task_type=outcome.task_type)
        beside = [self._estimate(one, outcome) for one in self._agents.values() if one.takes(task)]
        own = self._estimate(agent, outcome)
        costs, times = [one.cost_usd for one in beside], [one.seconds for one in beside]
        predicted = self._model.predict_quality(
            own.success_rate,
            float(outcome.task_type in agent.task_types),
            _position(own.cost_usd, costs),
            _position(own.seconds, times),
        )
        try:
            self._model.record_outcome(
                TaskOutcome(
                    task_id=outcome.task_id,
                    task_type=outcome.task_type,
                    agent_name=outcome.agent,
                    success=float(outcome.success),
                    quality=outcome.quality,
                    cost=_position(outcome.cost_usd, costs),
                    time=_position(outcome.seconds, times),
                    predicted_score=predicted,
                )
            )
        except InvalidInput as error:
            logger.warning("What the reward model learned is not written yet: %s", error)

    def save(self) -> None:
        """Write the model's file, if there is one and anything is new."""
        try:
            self._model.save()
        except InvalidInput as error:
            logger.warning("What the reward model learned is not written yet: %s", error)

    def _estimate(self, agent: AgentCapability, outcome: Outcome) -> Estimate:
        complexity, text = outcome.features.get("complexity", 1.0), outcome.features.get("text", "")
        return self._profiler.estimate(
            agent,
            outcome.task_type,
            float(complexity) if isinstance(complexity, (int, float)) else 1.0,
            text=text if isinstance(text, str) else "",
        )


def _position(value: float, beside: Sequence[float]) -> float:
    """Return where a figure lies between the least and the most, in 0..1; 0 where there is no choice."""
    width = max(beside, default=0.0) - min(beside, default=0.0)
    return min(max((value - min(beside)) / width, 0.0), 1.0) if width > 0 else 0.0
