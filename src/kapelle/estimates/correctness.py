"""What is believed of how right agents' answers are: one model of success for them all, kept in step with the ledger.

The model (see success) knows sums and no ages. How much an outcome still counts, by its age and by changes that were
noticed, the shares of each pair of agent and type know (see history): the model is faded to what they say. It is made
when somebody first asks and something was judged by then, for it needs NumPy, and takes up each outcome after that in
place. Where the clock has been set back it is made anew.

What one agent did says nothing of others: is it the agent, or the work? Comparing two tells, so of what the scales of
the model let all agents share, one part in 1 + pairs of judged agents is held to be an agent's own.

Words count where they were learned beforehand. Levels always come from the ledger; of texts, the last TEXTS that came
after the learning count too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .history import PairHistory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .success import Scales, SuccessModel, Term
    from .words import LearnedWords

TEXTS = 2_000
"""Outcomes whose words count beside those that words were learned from."""
_WAITING = 5_000
"""More outcomes that wait for somebody to ask are not added one by one: the model is made anew."""
_LEAST_WEIGHT = 1e-6
_LEAST_OUTCOMES = 1.0
"""That a belief is worth, once something was judged: fewer would make it all or nothing."""
_MOST_DOUBT = 0.999
_ENOUGH = 16
"""Judged agents from which on what is shared is as the scales have it."""
_DIGITS = 10
"""Of means: how many agents are asked for at once, and in what order sums were added, changes the sixteenth digit."""


class WordSource(Protocol):
    """Knows what was learned of words beforehand."""

    def load(self) -> LearnedWords | None:
        """Return it; None where there is nothing, which is told by whoever looked for it."""


class Chance(NamedTuple):
    """What is believed of a chance: its mean, and how many outcomes that is worth."""

    mean: float
    outcomes: float


class _News(NamedTuple):
    """An outcome that the model has not taken up yet."""

    agent: str
    task_type: str
    kept: float
    """What those before it count together by now."""
    weight: float
    value: float
    text: str


class _Told(NamedTuple):
    """An outcome whose words count."""

    history: PairHistory
    changes: int
    faded: float
    value: float
    text: str


class Correctness:
    """Believes how right agents are. Not thread-safe.

    Args:
        histories: All pairs, by agent and type; shared with whoever adds to them.
        words: What was learned of words, if anything.
    """

    def __init__(self, histories: Mapping[tuple[str, str], PairHistory], words: WordSource | None = None) -> None:
        self.judged = 0
        """Outcomes of which something measured how right they were."""
        self._source = words
        self._histories = histories
        self._agents: set[str] = set()
        """Who was judged, up to _ENOUGH."""
        self._model: SuccessModel | None = None
        self._now = 0.0
        self._news: list[_News] = []
        self._told: deque[_Told] = deque(maxlen=TEXTS)

    @property
    def words(self) -> LearnedWords | None:
        """What was learned of words; read when it is first asked for."""
        return self._source.load() if self._source is not None else None

    def learn(self, history: PairHistory, value: float, *, has_changed: bool, at: float, text: str = "") -> None:
        """Take up an outcome that a pair's history has just counted."""
        self.judged += 1
        if len(self._agents) < _ENOUGH and history.agent not in self._agents:
            self._agents.add(history.agent)
            self._forget_model()
        share = history.correctness
        words = self.words if text and not has_changed else None
        if words is None or 0.0 < at <= words.learned_at:
            text = ""
        else:
            from .features import shorten  # with NumPy, as whoever knows words

            text = shorten(text)
            self._told.append(_Told(history, share.changes, share.faded, value, text))
        if self._model is None:
            return
        if len(self._news) >= _WAITING:
            self._forget_model()
            return
        weight, here = 1.0, share.kept_until(self._now)
        if has_changed:
            weight, value = float(share.detector.outcomes), share.detector.mean
        kept = max(share.count - weight, 0.0) * here
        self._news.append(_News(history.agent, history.task_type, kept, weight * here, value, text))

    def believe(
        self, agents: Sequence[tuple[str, float]], tasks: Sequence[tuple[str, str]], now: float
    ) -> list[list[Chance]]:
        """Return what is believed of every agent, given with what it declares, at every task, its type and its text.

        One list per task. Something must have been judged, or learned of words.
        """
        from .success import NOISE  # with NumPy, which a run without history does without

        model = self._catch_up(now)
        words, learned = None, self.words
        if learned is not None:
            words = learned.describe_all([text for _, text in tasks], [kind for kind, _ in tasks])
            words[[row for row, (_, text) in enumerate(tasks) if not text]] = 0.0  # as ordinary as can be
        names, declared = [name for name, _ in agents], [rate for _, rate in agents]
        mean, variance = model.believe(names, declared, [kind for kind, _ in tasks], words)
        # A Beta distribution worth n outcomes has 1 / (n + 1) of the variance of one.
        outcomes = (NOISE / variance.clip(1e-12) - 1.0).clip(_LEAST_OUTCOMES).round(_DIGITS - 3)
        return [
            [Chance(*pair) for pair in zip(*rows, strict=True)]
            for rows in zip(mean.round(_DIGITS).tolist(), outcomes.tolist(), strict=True)
        ]

    def explain(self, agent: str, declared: float, task_type: str, text: str, now: float) -> tuple[Term, ...]:
        """Return what moved the belief from what is declared, the strongest first; nothing where nothing was judged."""
        if not self.judged and self.words is None:
            return ()
        model = self._catch_up(now)
        model.believe([agent], [declared], [task_type])  # for it to know what is declared
        learned = self.words if text else None
        return model.explain(agent, task_type, None if learned is None else learned.describe(text, task_type))

    def _catch_up(self, now: float) -> SuccessModel:
        model = self._model
        if model is None or now < self._now:
            return self._make_model(now)
        told, learned = [one for one in self._news if one.text], self.words
        rows: Iterator[NDArray[np.float64]] = iter(())
        if told and learned is not None:
            rows = iter(learned.describe_all([one.text for one in told], [one.task_type for one in told]))
        for one in self._news:
            kept = self._part_of(model, one.agent, one.task_type, one.kept)
            words = next(rows) if one.text else None
            model.observe(one.agent, one.task_type, one.value, words, weight=one.weight, kept=kept)
        self._news.clear()
        if now > self._now:
            self._now = now
            for (agent, task_type), history in self._histories.items():
                if history.judged:
                    left = history.correctness.seen_at(now)[0]
                    model.fade(agent, task_type, self._part_of(model, agent, task_type, left))
        return model

    @staticmethod
    def _part_of(model: SuccessModel, agent: str, task_type: str, outcomes: float) -> float:
        """Return the part of a pair's outcomes, 0..1, with which it counts as so many."""
        count = model.count(agent, task_type)
        return outcomes / count if count > outcomes else 1.0

    def _make_model(self, now: float) -> SuccessModel:
        from .success import SuccessModel

        self._forget_model()
        self._now, learned = now, self.words
        model = self._model = SuccessModel(self._scales(learned))
        sums = {
            pair: [*history.correctness.seen_at(now)] for pair, history in self._histories.items() if history.judged
        }
        told: list[tuple[_Told, float]] = []
        for one in self._told:
            share = one.history.correctness
            weight = math.exp(min(share.faded - one.faded, 0.0)) * share.kept_until(now)
            if one.changes == share.changes and weight > _LEAST_WEIGHT:
                told.append((one, weight))
                rest = sums[one.history.agent, one.history.task_type]
                rest[0] -= weight
                rest[1] -= weight * one.value
        for (agent, task_type), (count, total) in sums.items():
            if count > _LEAST_WEIGHT:
                model.observe(agent, task_type, min(max(total / count, 0.0), 1.0), weight=count)
        if learned is not None:
            for agent, slopes in learned.slopes.items():
                model.add_slopes(agent, *slopes)
            described = learned.describe_all([one.text for one, _ in told], [one.history.task_type for one, _ in told])
            for (one, weight), row in zip(told, described, strict=True):
                model.observe(one.history.agent, one.history.task_type, one.value, row, weight=weight)
        return model

    def _scales(self, learned: LearnedWords | None) -> Scales:
        from .success import Scales

        scales = Scales() if learned is None else learned.scales
        count = len(self._agents)
        doubt = min(1.0 / (1.0 + count * (count - 1) / 2.0), _MOST_DOUBT) if count < _ENOUGH else 0.0
        level, of_type = doubt * scales.shared_level, doubt * scales.shared_type
        return replace(
            scales,
            shared_level=scales.shared_level - level,
            own_level=scales.own_level + level,
            shared_type=scales.shared_type - of_type,
            own_type=scales.own_type + of_type,
        )

    def forget_pairs(self) -> None:
        """Believe nothing any more of pairs whose histories are gone."""
        kept = (one for one in self._told if self._histories.get((one.history.agent, one.history.task_type)))
        self._told = deque(kept, maxlen=TEXTS)
        self._forget_model()

    def _forget_model(self) -> None:
        self._model = None
        self._news.clear()
