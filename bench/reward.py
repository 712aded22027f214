"""How well reward models predict outcomes: recorded outcomes of many agents at the same tasks, half of them held out.

    python -m bench.reward [--data FILE ...] [--splits N] [--seed N] [--json]     FILE as in shared/data/routing
    python -m bench.reward --train FILE --test FILE [--json]

Tasks are shuffled and halved, equal texts together. The training half is a stream of outcomes as runs would leave it:
features that are known before an attempt (agent, task type, the task's words, its functions where it may call some,
what such attempts of this agent have cost so far), then the outcome. The test half is predicted and never learned from.
bfcl's `category` is the benchmark's own label and is not read; its task type is `function_call`.

    base        the training half's mean outcome, for everything
    static      0.4 success + 0.3 quality + 0.2 (1 - cost) + 0.1 (1 - time), read as a chance. Success and quality are
                both the agent's shrunken training rate at this type, cost its place from the cheapest to the dearest
    static_fit  the same with quality = 1, which is what the validator's "fit" is for an agent that names the type
    rate        that shrunken rate alone
    learned     LearnedReward: the documented model, its score calibrated
    calibrated  CalibratedRewardModel

Three views of each split:

    paired       every agent's outcome of every training task is seen
    conditioned  the same, and the features hold `success_rate`: what a DifficultyModel, learned from the same training
                 tasks, expects (of training tasks, what it would have said had it not seen them). So the optimiser
                 asks reward models, for its profiler is conditioned by difficulty. Here are also `estimate`, that
                 expectation alone, and `static_same`, the documented formula fed with it instead of past rates
    partial      of each training task the outcome of one agent is seen, drawn by the seed, as in a log of real work

Log loss and Brier score are means over all outcomes of the test half, lower being better; a quality that is a share is
a soft label. `gain` is the log loss saved against `static`, as a fraction,
`off` is how far outcomes lie from predictions of about one size (tenths of the test half).
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import random
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kapelle.estimates.difficulty import DifficultyModel
from kapelle.estimates.logged import LoggedOutcome, LoggedTask
from kapelle.validation.calibrated import CalibratedRewardModel
from kapelle.validation.learned_reward import LearnedReward
from kapelle.validation.rates import Rates, expit
from kapelle.validation.reward_model import STATIC_WEIGHTS

FILES = ("llmrouter.jsonl.gz", "mmlu.jsonl.gz", "bfcl.jsonl.gz")
FOLDERS = (Path("../shared/data"), Path(__file__).parent.parent.parent / "shared" / "data")
VIEWS = ("paired", "conditioned", "partial")
MODELS = ("base", "static", "static_fit", "static_same", "rate", "estimate", "learned", "calibrated")
WANTED = 0.15


class BadData(Exception):
    """A file is missing or malformed; the message is one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A recorded task and what each agent made of it."""

    task_type: str
    text: str
    context: str
    outcomes: Mapping[str, tuple[float, float]]
    """Agent to (quality, dollars)."""


Attempt = tuple[dict[str, Any], float]


def main() -> None:
    """Print a table, or with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", help="a file of tasks; may be given more than once")
    parser.add_argument("--train", type=Path, help="the file to learn from; needs --test")
    parser.add_argument("--test", type=Path, help="the file to be judged by; needs --train")
    parser.add_argument("--splits", type=int, default=3, help="how many times a file is halved (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    try:
        if (options.train is None) != (options.test is None):
            raise BadData("--train and --test go together.")
        if options.splits < 1:
            raise BadData("--splits must be one or more.")
        figures: dict[str, Any] = {"wanted_gain": WANTED, "files": {}}
        if options.train is not None:
            halves = [(load_tasks(options.train), load_tasks(options.test))]
            figures["files"][options.test.name] = measure_file(halves, options.seed)
        else:
            for path in options.data or find_files():
                tasks = load_tasks(path)
                halves = [halve(tasks, options.seed + number) for number in range(options.splits)]
                figures["files"][path.name] = measure_file(halves, options.seed)
    except BadData as error:
        print(f"bench.reward: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print_table(figures)
    if options.json:
        print(json.dumps(figures))


def find_files() -> list[Path]:
    """Return the recorded outcomes.

    Raises:
        BadData: the folder is not there.
    """
    named = os.environ.get("KAPELLE_BENCH_DATA")
    folders = [Path(named)] if named else list(FOLDERS)
    for folder in folders:
        for place in (folder / "routing", folder):
            if (place / FILES[0]).exists():
                return [place / name for name in FILES if (place / name).exists()]
    raise BadData(f"no recorded outcomes in {folders[0]}. Give --data FILE, or name the folder in KAPELLE_BENCH_DATA.")


def load_tasks(path: Path) -> list[Task]:
    """Return the tasks of a file.

    Raises:
        BadData: it cannot be read, or a row is malformed; the message names the row.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadData(f"{path} cannot be read ({error}).") from None
    tasks = [_read_task(line, f"{path.name}, row {n}") for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(tasks) < 2:
        raise BadData(f"{path} has fewer than two tasks.")
    return tasks


def halve(tasks: Sequence[Task], seed: int) -> tuple[list[Task], list[Task]]:
    """Return two halves of the tasks, drawn by the seed. Tasks of equal text go to the same one."""
    texts = sorted({task.text for task in tasks})
    random.Random(seed).shuffle(texts)
    first = set(texts[: len(texts) // 2])
    drawn = list(tasks)
    random.Random(seed).shuffle(drawn)
    return [task for task in drawn if task.text in first], [task for task in drawn if task.text not in first]


def measure_file(halves: Sequence[tuple[list[Task], list[Task]]], seed: int) -> dict[str, Any]:
    """Return the figures of every split, and their means."""
    figures: dict[str, Any] = {}
    for view in VIEWS:
        splits = []
        for number, (train, test) in enumerate(halves):
            shown = list(_one_agent_each(train, seed + number)) if view == "partial" else train
            splits.append(measure(shown, test, conditioned=view == "conditioned", seed=seed + number))
        mean = {
            name: {part: math.fsum(one[name][part] for one in splits) / len(splits) for part in figures_of_one}
            for name, figures_of_one in splits[0].items()
        }
        figures[view] = {"mean": mean, "splits": splits}
    return figures


def measure(
    train: Sequence[Task], test: Sequence[Task], *, conditioned: bool, seed: int
) -> dict[str, dict[str, float]]:
    """Learn from one half, predict the other, and return log loss, Brier score and gain of every model."""
    stream = Stream()
    learned = LearnedReward()
    rows: list[Attempt] = []
    expected_train, expected_test = _expect(train, test, seed) if conditioned else ([{}] * len(train), [{}] * len(test))
    for task, expected in zip(train, expected_train, strict=True):
        for features, outcome in stream.attempts(task, expected, learn=True):
            learned.observe(features, outcome)
            rows.append((features, outcome))
    started = time.perf_counter()
    calibrated = CalibratedRewardModel.fit(rows)
    fit_s = time.perf_counter() - started
    base = math.fsum(outcome for _, outcome in rows) / len(rows)

    told: dict[str, list[float]] = defaultdict(list)
    outcomes: list[float] = []
    predict_s = 0.0
    for task, expected in zip(test, expected_test, strict=True):
        for features, outcome in stream.attempts(task, expected, learn=False):
            rate = expit(stream.rates.view(features["agent"], features["task_type"]).pair)
            told["base"].append(base)
            told["rate"].append(rate)
            told["static"].append(_static(rate, rate, features["cost_position"]))
            told["static_fit"].append(_static(rate, 1.0, features["cost_position"]))
            if conditioned:
                estimate = features.get("success_rate", rate)
                told["estimate"].append(estimate)
                told["static_same"].append(_static(estimate, estimate, features["cost_position"]))
            told["learned"].append(learned.predict(features))
            started = time.perf_counter()
            told["calibrated"].append(calibrated.predict(features))
            predict_s += time.perf_counter() - started
            outcomes.append(outcome)
    loss = {name: _log_loss(chances, outcomes) for name, chances in told.items()}
    figures = {
        name: {
            "log_loss": loss[name],
            "brier": math.fsum((p - q) ** 2 for p, q in zip(chances, outcomes, strict=True)) / len(outcomes),
            "gain": 1 - loss[name] / loss["static"],
            "calibration_error": _calibration_error(chances, outcomes),
        }
        for name, chances in told.items()
    }
    figures["calibrated"] |= {"fit_s": fit_s, "predict_us": 1e6 * predict_s / len(outcomes), "rows": float(len(rows))}
    return figures


def _expect(train: Sequence[Task], test: Sequence[Task], seed: int) -> tuple[list[dict[str, float]], ...]:
    """Return what a difficulty model expects of every agent at every task of both halves."""
    model, unseen = DifficultyModel.fit_unseen([_logged(task) for task in train], seed=seed)
    # Of test tasks it is told the words alone.
    blind = model.predict([LoggedTask(task_id="", text=t.text, task_type=t.task_type, context=t.context) for t in test])
    return tuple(
        [dict(zip(said.agents, row, strict=True)) for row in said.quality.tolist()] for said in (unseen, blind)
    )


def _logged(task: Task) -> LoggedTask:
    return LoggedTask(
        task_id="",
        text=task.text,
        task_type=task.task_type,
        context=task.context,
        outcomes={
            agent: LoggedOutcome(quality=quality, cost_usd=cost) for agent, (quality, cost) in task.outcomes.items()
        },
    )


class Stream:
    """Turns tasks into attempts with the features that a run would know: past rates and past costs."""

    def __init__(self) -> None:
        self.rates = Rates()
        self._costs: dict[tuple[str, str], tuple[int, float]] = defaultdict(lambda: (0, 0.0))

    def attempts(self, task: Task, success: Mapping[str, float], *, learn: bool) -> Iterator[Attempt]:
        """Yield (features, outcome) of every agent that tried the task; with `learn` they become the past after it.

        `success` is what is expected of agents at this very task, for those of whom something is.
        """
        expected = {agent: self._expected_cost(agent, task.task_type) for agent in task.outcomes}
        known = [cost for cost in expected.values() if cost is not None]
        low, high = min(known, default=0.0), max(known, default=0.0)
        for agent, (quality, _) in task.outcomes.items():
            cost = expected[agent]
            features: dict[str, Any] = {
                "agent": agent,
                "task_type": task.task_type,
                "text": task.text,
                "cost_position": (cost - low) / (high - low) if cost is not None and high > low else 0.0,
            }
            if cost is not None:
                features["cost_usd"] = cost
            if agent in success:
                features["success_rate"] = success[agent]
            if task.context:
                features["context"] = task.context
            yield features, quality
        if learn:
            for agent, (quality, cost_usd) in task.outcomes.items():
                self.rates.add(agent, task.task_type, quality)
                for key in ((agent, task.task_type), (agent, "")):
                    count, total = self._costs[key]
                    self._costs[key] = (count + 1, total + cost_usd)

    def _expected_cost(self, agent: str, task_type: str) -> float | None:
        for key in ((agent, task_type), (agent, "")):
            if key in self._costs:
                count, total = self._costs[key]
                return total / count
        return None


def print_table(figures: Mapping[str, Any]) -> None:
    """Print the means over the splits, and the range of the gains."""
    print(f"{'':30}{'model':>12}{'log loss':>10}{'Brier':>8}{'off':>8}{'gain':>8}   gain by split")
    for name, views in figures["files"].items():
        for view, entry in views.items():
            for model in [name for name in MODELS if name in entry["mean"]]:
                row = entry["mean"][model]
                gains = " ".join(f"{100 * one[model]['gain']:.1f}" for one in entry["splits"])
                print(
                    f"{name + ' ' + view:30}{model:>12}{row['log_loss']:>10.4f}{row['brier']:>8.4f}"
                    f"{row['calibration_error']:>8.3f}{100 * row['gain']:>7.1f}%   {gains}"
                )
            row = entry["mean"]["calibrated"]
            print(f"{'':30}{row['rows']:.0f} rows, fit {row['fit_s']:.1f} s, a prediction {row['predict_us']:.0f} us")


def _read_task(line: str, place: str) -> Task:
    try:
        row = json.loads(line)
        outcomes = {
            str(agent): (float(outcome["quality"]), float(outcome["cost_usd"]))
            for agent, outcome in row["outcomes"].items()
        }
        fair = all(0 <= quality <= 1 and 0 <= cost < math.inf for quality, cost in outcomes.values())
        if not (outcomes and fair and isinstance(row["text"], str)):
            raise ValueError("a quality lies outside 0..1, a cost is negative, or there is no outcome")
        context = json.dumps(row["functions"]) if "functions" in row else ""
        return Task(
            task_type=str(row.get("task_type", "function_call")), text=row["text"], context=context, outcomes=outcomes
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadData(f"{place}: no task with outcomes ({error!r}).") from None


def _one_agent_each(tasks: Iterable[Task], seed: int) -> Iterator[Task]:
    chance = random.Random(f"partial {seed}")
    for task in tasks:
        agent = chance.choice(sorted(task.outcomes))
        yield Task(
            task_type=task.task_type, text=task.text, context=task.context, outcomes={agent: task.outcomes[agent]}
        )


def _static(success: float, quality: float, cost: float) -> float:
    weights = STATIC_WEIGHTS
    # The recorded rows say nothing of time: nobody is slower than another.
    return weights["success"] * success + weights["quality"] * quality + weights["cost"] * (1 - cost) + weights["time"]


def _log_loss(chances: Sequence[float], outcomes: Sequence[float]) -> float:
    losses = []
    for chance, outcome in zip(chances, outcomes, strict=True):
        p = min(max(chance, 1e-6), 1 - 1e-6)
        losses.append(-outcome * math.log(p) - (1 - outcome) * math.log(1 - p))
    return math.fsum(losses) / len(losses)


def _calibration_error(chances: Sequence[float], outcomes: Sequence[float]) -> float:
    """Return how far, on average, the outcomes of predictions of about one size lie from them (ten equal groups)."""
    pairs = sorted(zip(chances, outcomes, strict=True))
    error = 0.0
    for group in range(10):
        part = pairs[len(pairs) * group // 10 : len(pairs) * (group + 1) // 10]
        error += abs(math.fsum(chance - outcome for chance, outcome in part))
    return error / len(pairs)


if __name__ == "__main__":
    main()
