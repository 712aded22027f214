"""Learns the weights of dependency analysis from the development rows of recorded plans.

    python -m bench.train_plans [--data FILE ...] [--check]

Reads only the rows that `bench.plans` calls `dev`, and writes `weights.json` of the package. With --check it writes
nothing and prints the F1 of five-fold cross-validation within those rows, by which every choice was made.
Deterministic: no chance is involved.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.plans import GoldPlan, Pairs, find_files, load_plans, micro_f1
from kapelle.planning.dependencies import scorer
from kapelle.planning.dependencies.options import (
    counted_pairs,
    find_features,
    find_options,
    find_pair_features,
    situate,
)
from kapelle.planning.dependencies.text_plan import DecidedSteps, Features, Sources, TextPlan

WEIGHTS = Path(scorer.__file__).parent / "weights.json"
FOLDS = 5
ROUNDS = 400
RATE = 0.1
# How strongly weights are held near zero, and how often a feature must occur, by family: few rows, strong hold.
HOLD = {"blanks": 1.0, "errands": 2.0, "procedure": 5.0}
MIN_COUNT = {"blanks": 4, "errands": 3, "procedure": 3}
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55)


@dataclass(frozen=True)
class Example:
    """A plan with its gold edges as indices."""

    gold: GoldPlan
    plan: TextPlan
    sources: tuple[tuple[int, ...], ...]


def main() -> None:
    """Train, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--family")
    options = parser.parse_args()
    examples = read_examples(options.data or find_files())
    families = {}
    for family in ("blanks", "errands", "procedure"):
        if options.family not in (None, family):
            continue
        rows = [example for example in examples if example.plan.family == family]
        threshold = check(family, rows)
        if not options.check:
            weights = fit(rows, hold=HOLD[family], min_count=MIN_COUNT[family])
            named = {name: round(value, 3) for name, value in sorted(weights.items()) if abs(value) >= 0.005}
            families[family] = {"rows": len(rows), "threshold": threshold, "features": named}
    if not options.check:
        text = json.dumps({"trained_by": "bench/train_plans.py", "families": families}, indent=1, ensure_ascii=False)
        WEIGHTS.write_text(text + "\n", "utf-8")


def read_examples(files: Sequence[Path]) -> list[Example]:
    """Return the development rows whose steps are texts."""
    examples = []
    for path in files:
        for gold in load_plans(path):
            if gold.part != "dev" or any(step.tool for step in gold.steps):
                continue
            numbers = {step.id: number for number, step in enumerate(gold.steps)}
            sources: list[list[int]] = [[] for _ in gold.steps]
            for source, target in gold.edges:
                if numbers[source] < numbers[target]:
                    sources[numbers[target]].append(numbers[source])
            plan = TextPlan.read([step.text for step in gold.steps], gold.request)
            examples.append(Example(gold=gold, plan=plan, sources=tuple(tuple(sorted(some)) for some in sources)))
    return examples


def check(family: str, rows: Sequence[Example]) -> float:
    """Print the cross-validated F1 by threshold, and return the threshold to use."""
    found: list[dict[tuple[int, int], float]] = [{} for _ in rows]
    for fold in range(FOLDS):
        train = [row for at, row in enumerate(rows) if at % FOLDS != fold]
        weights = fit(train, hold=HOLD[family], min_count=MIN_COUNT[family])
        for at, row in enumerate(rows):
            if at % FOLDS == fold:
                found[at] = scorer.score_edges(row.plan, weights).probability
    gold = [row.gold.edges for row in rows]
    chains: list[Pairs] = [frozenset((f"s{n}", f"s{n + 1}") for n in range(1, len(row.plan.steps))) for row in rows]
    scores = {}
    for threshold in THRESHOLDS:
        kept: list[Pairs] = [
            frozenset((f"s{a + 1}", f"s{b + 1}") for (a, b), share in edges.items() if share >= threshold)
            for edges in found
        ]
        scores[threshold] = micro_f1(gold, kept)
    # The mean with its neighbours, so that a lucky threshold does not win.
    smooth = {at: np.mean([value for other, value in scores.items() if abs(other - at) < 0.06]) for at in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda at: (smooth[at], at))
    print(f"{family}: {len(rows)} rows, chain {micro_f1(gold, chains):.3f}; cross-validated", end=" ")
    print("  ".join(f"{'*' if at == best else ''}{at}: {score:.3f}" for at, score in scores.items()))
    return best


def fit(rows: Sequence[Example], *, hold: float, min_count: int) -> dict[str, float]:
    """Return the weights that make the gold options likeliest, held near zero by an L2 penalty (Adam, full batches)."""
    groups: list[tuple[list[Features], np.ndarray]] = []
    for row in rows:
        history = DecidedSteps()
        for step, gold in enumerate(row.sources):
            options = find_options(row.plan, history)
            if len(options) > 1:
                closeness = np.array([f1(gold, option) for option in options])
                target = (closeness == closeness.max()).astype(float)
                features = [_all_features(row.plan, step, option, history) for option in options]
                groups.append((features, target / target.sum()))
            history = history.with_next(gold)
    counts = Counter(name for features, _ in groups for name in {name for some in features for name, _ in some})
    numbers = {name: at for at, name in enumerate(sorted(name for name, n in counts.items() if n >= min_count))}
    option_of, column, value, group_of, target = [], [], [], [], []
    option = 0
    for group, (features, wanted) in enumerate(groups):
        for some, share in zip(features, wanted, strict=True):
            for name, amount in some:
                if name in numbers:
                    option_of.append(option)
                    column.append(numbers[name])
                    value.append(amount)
            group_of.append(group)
            target.append(share)
            option += 1
    rows_, cols, vals = np.array(option_of), np.array(column), np.array(value)
    grp, tgt = np.array(group_of), np.array(target)
    starts = np.flatnonzero(np.r_[True, grp[1:] != grp[:-1]])
    weights = np.zeros(len(numbers))
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for round_ in range(1, ROUNDS + 1):
        scores = np.bincount(rows_, vals * weights[cols], minlength=option)
        scores -= np.maximum.reduceat(scores, starts)[grp]
        share = np.exp(scores)
        share /= np.add.reduceat(share, starts)[grp]
        gradient = np.bincount(cols, vals * (share - tgt)[rows_], minlength=len(weights)) + hold * weights
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        rate = RATE * min(1.0, 2 * (1 - round_ / (ROUNDS + 1)))
        weights -= rate * (mean / (1 - 0.9**round_)) / (np.sqrt(square / (1 - 0.99**round_)) + 1e-8)
    return dict(zip(numbers, weights.tolist(), strict=True))


def _all_features(plan: TextPlan, step: int, option: Sources, history: DecidedSteps) -> Features:
    found = find_features(plan, step, option, situate(plan, step, option, history))
    for source in counted_pairs(plan, option):
        found += find_pair_features(plan, step, source)
    return found


def f1(one: Sequence[int], other: Sequence[int]) -> float:
    """Return how close two sets of sources are."""
    if not one and not other:
        return 1.0
    return 2 * len(set(one) & set(other)) / (len(one) + len(other))


if __name__ == "__main__":
    main()
