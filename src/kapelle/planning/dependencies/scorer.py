"""Scores the options of each step and searches the plan of edges: a log-linear model, a beam, marginal probabilities.

The probability of an option is softmax over the step's options of the sum of its weighted features (a maximum-entropy
Markov model; McCallum, Freitag and Pereira 2000). A beam keeps the likeliest histories. What counts is not the single
likeliest plan but each edge: its probability is the share of the plans in the beam that have it, weighed by theirs;
an edge is kept from a threshold on, which maximises expected F1 better than one half does (Lipton et al. 2014).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from .instruction_features import Situation
from .options import counted_pairs, find_features, find_options, find_pair_features, situate
from .question_features import BlankSituation
from .text_plan import DecidedSteps, Features, Sources, TextPlan

BEAM = 24
WORK = 150
"""Histories times steps: long plans get a narrower beam, so that the time for 50 steps stays bounded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """What was learned for one family of plans."""

    features: Mapping[str, float]
    threshold: float
    """From which probability on an edge is kept."""


@dataclass(slots=True)
class ScoredEdges:
    """The edges of a plan of text, by source and target, with their probabilities."""

    probability: dict[tuple[int, int], float] = field(default_factory=dict)

    def surest(self, target: int) -> Sources:
        """The likeliest source of a step, so that none with a blank goes without."""
        shares = {source: share for (source, other), share in self.probability.items() if other == target}
        return (max(shares, key=lambda source: (shares[source], source)),) if shares else ()


@cache
def load_weights() -> Mapping[str, Weights]:
    """Return the weights that come with the package, by family."""
    text = resources.files(__package__).joinpath("weights.json").read_text("utf-8")
    return {
        family: Weights(features=entry["features"], threshold=entry["threshold"])
        for family, entry in json.loads(text)["families"].items()
    }


def total(features: Features, weights: Mapping[str, float]) -> float:
    """Return the weighted sum."""
    return sum(weights.get(name, 0.0) * value for name, value in features)


def score_edges(plan: TextPlan, weights: Mapping[str, float]) -> ScoredEdges:
    """Return the probability of every edge that the beam has seen."""
    width = max(2, min(BEAM, WORK // max(1, len(plan.steps))))
    beam: list[tuple[float, DecidedSteps]] = [(0.0, DecidedSteps())]
    for step in range(len(plan.steps)):
        known: dict[tuple[Sources, BlankSituation | Situation], float] = {}
        pairs: dict[int, float] = {}
        grown: list[tuple[float, Sources, DecidedSteps]] = []
        for logp, history in beam:
            options = find_options(plan, history)
            if len(options) == 1:
                grown.append((logp, options[0], history))
                continue
            scores = []
            for sources in options:
                situation = situate(plan, step, sources, history)
                if (sources, situation) not in known:
                    score = total(find_features(plan, step, sources, situation), weights)
                    for source in counted_pairs(plan, sources):
                        if source not in pairs:
                            pairs[source] = total(find_pair_features(plan, step, source), weights)
                        score += pairs[source]
                    known[sources, situation] = score
                scores.append(known[sources, situation])
            peak = max(scores)
            norm = peak + math.log(sum(math.exp(score - peak) for score in scores))
            grown += [(logp + score - norm, sources, history) for sources, score in zip(options, scores, strict=True)]
        grown.sort(key=lambda entry: -entry[0])
        beam = [(logp, history.with_next(sources)) for logp, sources, history in grown[:width]]
    found = ScoredEdges()
    shares = [math.exp(logp - beam[0][0]) for logp, _ in beam]
    whole = sum(shares)
    for share, (_, history) in zip(shares, beam, strict=True):
        for step, sources in enumerate(history.sources):
            for source in sources:
                found.probability[source, step] = found.probability.get((source, step), 0.0) + share / whole
    return found
