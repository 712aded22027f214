"""How cheaply recorded tasks could have been done: routing learned from some rows, judged on others.

    python -m bench.routing --train FILE --test FILE [--json]
    python -m bench.routing [--splits N] [--seed N] [--json]      seeded half splits of the recorded data

A row is a task with the quality and cost that each agent reached. Everything is learned and
every operating point is chosen on training rows only; cost and quality are then those of the test rows, relative to
the best single agent there. Equal texts are never on both sides of a split.

`curve`: what the policy (success by the words of the task and the form of its context, strategies where answers were
recorded) costs at 95, 98 and 100 % of that agent's quality, and the quality that was really reached. An agent that is
asked is paid, also where its answer is not taken. The price that reaches a share is chosen in two ways, and told apart:

    sweep           on the test rows themselves: the cost at exactly 95, 98 and 100 %. No policy could know it; it says
                    how good the predictions are, and is the least noisy comparison
    trained         on the training rows, as users do: what was aimed at, what it cost, what was reached

    accuracy_gain   quality at the same cost as the best agent's, less that agent's
    log_loss_100    learned from 100 outcomes of one random agent each (mean of 12 draws)
    online_2000     learned task by task over 2,000 tasks of both files, each drawn as exploration draws: the total of
                    quality less a tenth of the cost, above the best fixed agent in hindsight (mean of 12 orders)
    many_agents     quality of the most promising agent by words alone, without types, less that of the best agent

Baselines, same rows, the point chosen as in `trained`: `mix` (two agents by chance), `category` (mean quality by the
recorded category), `knn` (the mean of the 40 nearest texts), `oracle` (knows the test outcomes; a bound, no policy).
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.recorded import BadData, find_recorded
from bench.routing_few import log_loss_of_few, online_gain
from kapelle.errors import KapelleError
from kapelle.estimates.features import FORM, TextFeatures
from kapelle.estimates.logged import LoggedTask
from kapelle.evaluation import read_log
from kapelle.evaluation.curve import Curve, OperatingPoint, choose_columns
from kapelle.evaluation.learned_policy import draws_for
from kapelle.evaluation.policy import RoutingPolicy, common_agents, look_up
from kapelle.strategies import upper_hull

Doubles = NDArray[np.float64]

FILES = ("llmrouter.jsonl.gz", "mmlu.jsonl.gz", "bfcl.jsonl.gz")
SHARES = (0.95, 0.98, 1.0)
NEIGHBOURS = 40
PULL = 10.0
"""Rows that an agent's overall mean weighs in its mean of one category."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Tasks, what each agent made of them, and their recorded category, which only a baseline may look at."""

    tasks: tuple[LoggedTask, ...]
    category: tuple[str, ...]
    refused: int = 0
    """Rows that could not be used."""

    def part(self, index: Sequence[int]) -> Rows:
        return Rows(tuple(self.tasks[at] for at in index), tuple(self.category[at] for at in index), self.refused)


def main() -> None:
    """Print a table, or with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="rows to learn from")
    parser.add_argument("--test", type=Path, help="rows to judge by; none of them may be in --train")
    parser.add_argument("--data", type=Path, action="append", help="a file to split in halves; may be given repeatedly")
    parser.add_argument("--splits", type=int, default=5, help="half splits per file (default 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    if (options.train is None) != (options.test is None):
        parser.error("--train and --test belong together")
    try:
        if options.train is not None:
            train, test = read_rows(options.train), read_rows(options.test)
            report = measure(train, test, seed=options.seed, name="test")
            report["online_2000"] = measure_online((*train.tasks, *test.tasks), seed=options.seed, name="test")
            print(json.dumps(report) if options.json else table([("test", report)]))
            return
        found = {}
        for path in options.data or find_files():
            rows, name = read_rows(path), path.name.partition(".")[0]
            # of all rows, so the same for each split
            online = measure_online(rows.tasks, seed=options.seed, name=name)
            halves = half_splits(rows.tasks, options.splits, options.seed)
            found[name] = [
                measure(rows.part(first), rows.part(second), seed=options.seed, name=f"{name} {number}/{len(halves)}")
                | {"online_2000": online}
                for number, (first, second) in enumerate(halves, start=1)
            ]
    except (BadData, KapelleError) as error:
        print(f"bench.routing: {error}", file=sys.stderr)
        sys.exit(2)
    if options.json:
        print(json.dumps({name: {"mean": mean_of(splits), "splits": splits} for name, splits in found.items()}))
    else:
        print(table([(f"{name}, mean of {len(splits)}", mean_of(splits)) for name, splits in found.items()]))


def find_files() -> list[Path]:
    """Return the recorded files.

    Raises:
        BadData: they are not there.
    """
    return find_recorded(*FILES, inside="routing")


def read_rows(path: Path) -> Rows:
    """Return the rows of a file that can be used.

    Raises:
        BadData: the file cannot be read.
    """
    log = read_log(path)
    opener: Any = gzip.open if path.suffix == ".gz" else open
    categories = {}
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                categories[str(row["id"])] = str(row.get("category", row.get("task_type", "")))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # read_log has refused and counted it
    return Rows(log.tasks, tuple(categories.get(task.task_id, "") for task in log.tasks), log.refused)


def half_splits(tasks: Sequence[LoggedTask], count: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Return seeded halves in which equal texts stay together."""
    texts = {text: at for at, text in enumerate(dict.fromkeys(task.text for task in tasks))}
    splits = []
    for split in range(count):
        order = np.random.default_rng([seed, split]).permutation(len(texts))
        first = set(order[: len(texts) // 2].tolist())
        train = [at for at, task in enumerate(tasks) if texts[task.text] in first]
        test = [at for at, task in enumerate(tasks) if texts[task.text] not in first]
        splits.append((train, test))
    return splits


def measure(train: Rows, test: Rows, *, seed: int, name: str) -> dict[str, Any]:
    """Learn from the training rows, and return what came of it on the test rows; `name` is told while it lasts.

    Raises:
        BadData: the two have fewer than two agents in common, or share tasks.
    """
    agents = tuple(sorted(set(common_agents(train.tasks)) & set(common_agents(test.tasks))))
    if len(agents) < 2:
        raise BadData("fewer than two agents have tried every task of both files; there is nothing to choose from")
    if len(shared := {task.text for task in train.tasks} & {task.text for task in test.tasks}) == len(test.tasks):
        raise BadData("all test rows are training rows as well")
    learned = [_only(task, agents) for task in train.tasks]
    judged = [_only(task, agents) for task in test.tasks]
    quality, cost = matrices(judged, agents)
    best = best_single(quality, cost)
    base = Base(float(quality[:, best].mean()), float(cost[:, best].mean()))

    tell(f"{name}: learning from {len(learned):,} rows of {len(agents)} agents")
    started = time.perf_counter()
    policy = RoutingPolicy.fit(learned, seed=seed)
    fitted = time.perf_counter()

    def route(point: OperatingPoint) -> tuple[float, float]:
        reached = policy.reached(judged, point)
        return reached.quality, reached.cost_usd

    curve = [base.entry(share, *route(policy.point(share))) for share in SHARES]
    swept = sweep(policy, judged)
    at_equal_cost = base.entry(1.0, *route(policy.curve.at_cost(policy.best_cost_usd)))
    deciding = time.perf_counter() - fitted
    tell(f"{name}: 100 outcomes, no types, baselines")
    return {
        "agents": len(agents),
        "train_rows": len(learned),
        "test_rows": len(judged),
        "refused_rows": train.refused + test.refused,
        "rows_in_both": len(shared),
        "best_agent": agents[best],
        "best_quality": base.quality,
        "curve": curve,
        "sweep": [swept.at_quality(share * base.quality).expected_cost_usd / base.cost for share in SHARES],
        "trained": [
            {"aim": one["quality_share"], "cost_share": one["cost_share"], "quality_reached": one["quality_reached"]}
            for one in curve
        ],
        "accuracy_gain": at_equal_cost["quality_reached"] * base.quality - base.quality,
        "gain_cost_share": at_equal_cost["cost_share"],
        "log_loss_100": log_loss_of_few(learned, judged, seed=seed),
        "many_agents": gain_without_types(learned, judged, base, seed),
        "strategies": sum(len(str(one).split(",")) > 1 or " + " in str(one) for one in policy.strategies),
        "fit_s": fitted - started,
        "ms_per_decision": 1000 * deciding / (4 * len(judged)),
        "baselines": baselines(train, test, learned, judged, agents, base, seed),
    }


def sweep(policy: RoutingPolicy, judged: Sequence[LoggedTask]) -> Curve:
    """Return the curve of these tasks, with each price judged on them."""
    predicted = policy.predictor.predict(judged)
    found = [look_up(strategy, judged) for strategy in policy.strategies]
    quality, cost = (np.column_stack(columns) for columns in zip(*found, strict=True))
    return Curve.draw(predicted.quality, predicted.cost_usd, quality, cost)


def gain_without_types(learned: Sequence[LoggedTask], judged: Sequence[LoggedTask], base: Base, seed: int) -> float:
    """Return the mean quality of whom the policy takes for best, by words alone, less the best agent's."""
    plain, asked = ([replace(task, task_type="task") for task in part] for part in (learned, judged))
    policy = RoutingPolicy.fit(plain, seed=seed, strategies=[])
    free = OperatingPoint(price=0.0, other_price=0.0, share=1.0, expected_quality=0.0, expected_cost_usd=0.0)
    return policy.reached(asked, free).quality - base.quality


def tell(words: str) -> None:
    """Say on stderr what is being done, and when it was begun."""
    print(f"{time.process_time():6.0f} s  {words}", file=sys.stderr, flush=True)


def measure_online(tasks: Sequence[LoggedTask], *, seed: int, name: str) -> float:
    """Return `online_2000` of all these tasks."""
    tell(f"{name}: task by task")
    return online_gain(sorted(tasks, key=lambda task: task.task_id), common_agents(tasks), seed=seed)


@dataclass(frozen=True, slots=True)
class Base:
    """The best single agent of the test rows: what everything is relative to."""

    quality: float
    cost: float

    def entry(self, share: float, quality: float, cost: float) -> dict[str, float]:
        return {"quality_share": share, "cost_share": cost / self.cost, "quality_reached": quality / self.quality}


def baselines(
    train: Rows,
    test: Rows,
    learned: Sequence[LoggedTask],
    judged: Sequence[LoggedTask],
    agents: Sequence[str],
    base: Base,
    seed: int,
) -> dict[str, list[dict[str, float]]]:
    """Return the curve of every baseline."""
    quality, cost = matrices(learned, agents)
    test_quality, test_cost = matrices(judged, agents)
    target = quality.mean(axis=0)[best_single(quality, cost)]
    drawn = draws_for(judged)
    rows = np.arange(len(judged))
    sizes, test_sizes = _lengths(learned), _lengths(judged)
    prices = np.linalg.lstsq(sizes, cost, rcond=None)[0]
    predicted_cost = np.maximum(test_sizes @ prices, 0)
    folds = np.random.default_rng(seed).permutation(len(learned)) % 5

    def by(predict: Callable[[NDArray[np.intp], NDArray[np.intp] | None], Doubles]) -> list[dict[str, float]]:
        unseen = np.zeros_like(quality)
        for fold in range(5):
            unseen[folds == fold] = predict(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
        curve = Curve.draw(unseen, np.maximum(sizes @ prices, 0), quality, cost)
        expected = predict(np.arange(len(learned)), None)
        found = []
        for share in SHARES:
            chosen = choose_columns(expected, predicted_cost, curve.at_quality(share * target), drawn)
            reached = test_quality[rows, chosen].mean(), test_cost[rows, chosen].mean()
            found.append(base.entry(share, float(reached[0]), float(reached[1])))
        return found

    def category(known: NDArray[np.intp], asked: NDArray[np.intp] | None) -> Doubles:
        overall = quality[known].mean(axis=0)
        names = test.category if asked is None else [train.category[at] for at in asked]
        sums: dict[str, Doubles] = {}
        counts: dict[str, int] = {}
        for at in known:
            name = train.category[at]
            sums[name] = sums.get(name, 0.0) + quality[at]
            counts[name] = counts.get(name, 0) + 1
        return np.array([(sums.get(n, 0.0) + PULL * overall) / (counts.get(n, 0) + PULL) for n in names])

    features = TextFeatures.fit([task.text for task in learned], seed=seed)
    places, test_places = (
        _unit(features.describe([one.text for one in part])[:, len(FORM) :]) for part in (learned, judged)
    )

    def knn(known: NDArray[np.intp], asked: NDArray[np.intp] | None) -> Doubles:
        here = test_places if asked is None else places[asked]
        near = np.argpartition(-(here @ places[known].T), min(NEIGHBOURS, len(known) - 1), axis=1)[:, :NEIGHBOURS]
        return np.asarray(quality[known][near].mean(axis=1))

    return {
        "mix": [_mix(quality, cost, test_quality, test_cost, share, base) for share in SHARES],
        "category": by(category),
        "knn": by(knn),
        "oracle": [_oracle(test_quality, test_cost, share, base) for share in SHARES],
    }


def _mix(
    quality: Doubles, cost: Doubles, test_quality: Doubles, test_cost: Doubles, share: float, base: Base
) -> dict[str, float]:
    """Two agents by chance: which and how often is chosen on the training rows."""
    means, prices = quality.mean(axis=0), cost.mean(axis=0)
    hull = upper_hull(prices.tolist(), means.tolist())
    points = np.column_stack([prices, means, np.arange(len(means))])[hull]
    point = Curve(points=points).at_quality(share * float(means[best_single(quality, cost)]))
    one, other = int(point.price), int(point.other_price)
    mixed = [point.share * table[:, one].mean() + (1 - point.share) * table[:, other].mean()
             for table in (test_quality, test_cost)]  # fmt: skip
    return base.entry(share, float(mixed[0]), float(mixed[1]))


def _oracle(quality: Doubles, cost: Doubles, share: float, base: Base) -> dict[str, float]:
    point = Curve.draw(quality, cost, quality, cost).at_quality(share * base.quality)
    return base.entry(share, point.expected_quality, point.expected_cost_usd)


def matrices(tasks: Sequence[LoggedTask], agents: Sequence[str]) -> tuple[Doubles, Doubles]:
    """Return (quality, cost) as (task, agent)."""
    quality = np.array([[task.outcomes[agent].quality for agent in agents] for task in tasks])
    return quality, np.array([[task.outcomes[agent].cost_usd for agent in agents] for task in tasks])


def best_single(quality: Doubles, cost: Doubles) -> int:
    """Return the agent of the highest mean quality; of equals the cheaper."""
    return int(np.lexsort((cost.mean(axis=0), -quality.mean(axis=0)))[0])


def mean_of(splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean over splits of every figure."""

    def mean(values: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, Mapping):
            return {name: mean([value[name] for value in values]) for name in first}
        if isinstance(first, list):
            return [mean(list(parts)) for parts in zip(*values, strict=True)]
        return first if isinstance(first, str) else float(np.mean(values))

    found: dict[str, Any] = mean(list(splits))
    return found


def table(reports: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the reports as text: cost share, and in brackets the quality that was reached."""
    lines = []
    for name, report in reports:
        lines.append(f"{name}: {report['agents']:.0f} agents, {report['train_rows']:.0f} rows to learn from, "
                     f"{report['test_rows']:.0f} to judge by, best {report['best_agent']}")  # fmt: skip
        lines.append(f"  {'share of the best agent':24}" + "".join(f"{share:>16.0%}" for share in SHARES))
        for label, curve in [("kapelle", report["curve"]), *report["baselines"].items()]:
            cells = [f"{one['cost_share']:.1%} ({one['quality_reached']:.1%})" for one in curve]
            lines.append(f"  {label:24}" + "".join(f"{cell:>16}" for cell in cells))
        swept = "".join(f"{share:>16.1%}" for share in report["sweep"])
        lines.append(f"  {'price swept on test rows':24}{swept}")
        lines.append(
            f"  log loss after 100 outcomes {report['log_loss_100']:.3f}, gain online {report['online_2000']:+.1f}, "
            f"without types {report['many_agents']:+.1%} points"
        )
        lines.append(
            f"  at equal cost {report['accuracy_gain']:+.1%} points; learned in {report['fit_s']:.1f} s, "
            f"{report['ms_per_decision']:.2f} ms a decision"
        )
    return "\n".join(lines)


def _only(task: LoggedTask, agents: Sequence[str]) -> LoggedTask:
    return LoggedTask(
        task_id=task.task_id,
        text=task.text,
        task_type=task.task_type,
        context=task.context,
        outcomes={agent: task.outcomes[agent] for agent in agents},
    )


def _lengths(tasks: Sequence[LoggedTask]) -> Doubles:
    return np.array([(1.0, len(task.text), len(task.context)) for task in tasks], dtype=np.float64)


def _unit(rows: Any) -> Any:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


if __name__ == "__main__":
    main()
