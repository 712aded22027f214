"""The report in worlds whose truth is known: dominance, no difference, hidden outcomes, and logs that tell nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import InvalidInput
from kapelle.estimates.logged import LoggedTask
from kapelle.evaluation import SavingsReport, run_savings, savings_report
from kapelle.evaluation.baselines import Hindsight, cheapest_mix, cheapest_single
from kapelle.evaluation.learned_policy import LearnedPolicy
from kapelle.evaluation.scoring import group_tasks, split_tasks
from kapelle.strategies.strategy import Cascade, Check, Single, Strategy
from tests.evaluation.worlds import (
    COST,
    SUCCESS,
    Ignorant,
    TypeMeans,
    TypePolicy,
    hide,
    make_log,
    make_task,
    make_world,
)


def judge(tasks: Sequence[LoggedTask], **options: Any) -> SavingsReport:
    return savings_report(
        make_log(tasks), fit_policy=TypePolicy, fit_predictor=TypeMeans, resamples=200, **options
    )  # fmt: skip


def test_routing_saves_what_easy_tasks_cost_too_much() -> None:
    report = judge(make_world(1_500, seed=1))
    routed = report.targets[0].routed
    assert report.method == "paired"
    assert report.today is not None
    assert report.today.name == "large"
    assert 0.4 < routed.saving.value < 0.55
    assert routed.saving.low < routed.saving.value < routed.saving.high
    assert report.by_type["hard"] == {"large": 1.0}


def test_an_agent_that_is_better_and_cheaper_is_always_chosen() -> None:
    tasks = [make_task(n, "sums", {"good": (1.0, 0.1), "bad": (float(n % 2), 0.5)}) for n in range(100)]
    report = judge(tasks, today="bad")
    for target in report.targets:
        assert target.routed.uses == {"good": 1.0}
        assert target.routed.saving.value == pytest.approx(0.8)
        assert target.cheapest_single is not None
        assert target.cheapest_single.name == "good"


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_nothing_is_saved_where_all_cost_the_same(seed: int) -> None:
    chance = np.random.default_rng(seed)
    tasks = [
        make_task(n, "sums", {agent: (float(chance.random()), 0.3) for agent in ("a", "b", "c")}) for n in range(60)
    ]
    for target in judge(tasks).targets:
        for judged in (target.routed, target.cheapest_single, target.random_mix, target.oracle):
            assert judged is not None
            assert judged.saving.value == pytest.approx(0.0, abs=1e-9)
            assert judged.saving.low == pytest.approx(0.0, abs=1e-9)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_policy_beats_hindsight_at_its_own_quality(seed: int) -> None:
    chance = np.random.default_rng(seed)
    quality, cost = chance.random((40, 4)), chance.random((40, 4))
    choice = chance.integers(0, 4, 40)
    reached, spent = quality[np.arange(40), choice].mean(), cost[np.arange(40), choice].mean()
    best_quality, least_cost = Hindsight(quality, cost).reach(float(reached))
    assert least_cost.mean() <= spent + 1e-9
    assert best_quality.mean() >= reached - 1e-9


def test_hindsight_agrees_with_trying_everything() -> None:
    chance = np.random.default_rng(3)
    quality, cost = chance.integers(0, 2, (6, 3)).astype(float), chance.random((6, 3))
    choices = np.array(np.meshgrid(*[range(3)] * 6)).reshape(6, -1)
    totals = quality[np.arange(6)[:, None], choices].sum(axis=0)
    spent = cost[np.arange(6)[:, None], choices].sum(axis=0)
    for wanted in range(int(totals.max()) + 1):
        # With qualities of 0 and 1 every step is whole, so that the relaxation is exact.
        assert Hindsight(quality, cost).reach(wanted / 6)[1].sum() == pytest.approx(spent[totals >= wanted].min())


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0, 1))
def test_a_mix_of_two_is_never_dearer_than_one_agent(means: list[tuple[float, float]], target: float) -> None:
    quality, cost = np.array(means).T
    single, mix = cheapest_single(quality, cost, target), cheapest_mix(quality, cost, target)
    assert (single is None) == (mix is None)
    if single is not None and mix is not None:
        low, high, share = mix
        assert (1 - share) * cost[low] + share * cost[high] <= cost[single] + 1e-9
        assert (1 - share) * quality[low] + share * quality[high] >= target - 1e-9


def test_the_same_words_are_never_learned_from_and_judged_on() -> None:
    tasks = [make_task(n, "sums", {}, text=f"Question {n // 3}") for n in range(90)]
    groups = group_tasks(tasks)
    folds = split_tasks(tasks, groups, folds=2, seed=0)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert abs(int((folds == 0).sum()) - 45) <= 3


def test_the_policy_never_sees_what_it_is_judged_on() -> None:
    learned: list[set[str]] = []

    class Watching(TypePolicy):
        def __init__(self, tasks: Sequence[LoggedTask], seed: int = 0) -> None:
            super().__init__(tasks)
            learned.append({task.task_id for task in tasks})

        def choose(self, tasks: Sequence[LoggedTask], point: float) -> list[Strategy]:
            assert not learned[-1] & {task.task_id for task in tasks}
            return super().choose(tasks, point)

    savings_report(make_log(make_world(100, seed=2)), fit_policy=Watching, resamples=100)
    assert len(learned) == 2
    assert len(learned[0] | learned[1]) == 100


def test_the_same_seed_gives_the_same_report_and_another_one_another() -> None:
    world = make_world(300, seed=4)
    assert judge(world, seed=1).to_dict() == judge(world, seed=1).to_dict()
    assert judge(world, seed=1).to_dict() != judge(world, seed=2).to_dict()


def test_a_cascade_costs_what_its_parts_cost_where_they_are_asked() -> None:
    cascade = Cascade(cheap="small", check=Check(kind="well_formed"), strong=Single(agent="large"))

    class Cascading(TypePolicy):
        def choose(self, tasks: Sequence[LoggedTask], point: float) -> list[Strategy]:
            return [cascade] * len(tasks)

    tasks = [make_task(n, "sums", {"small": (float(n % 2), 0.1), "large": (1.0, 1.0)}) for n in range(60)]
    answered = [
        replace(
            task,
            outcomes={
                "small": replace(task.outcomes["small"], output="4" if n % 2 else ""),
                "large": replace(task.outcomes["large"], output="4"),
            },
        )
        for n, task in enumerate(tasks)
    ]
    routed = savings_report(make_log(answered), fit_policy=Cascading, resamples=100).targets[0].routed
    assert routed.quality.value == 1.0
    assert routed.cost_share.value == pytest.approx(0.1 + 0.5)
    unkept = savings_report(make_log(tasks), fit_policy=Cascading, resamples=100)
    assert any("outputs were not kept" in warning for warning in unkept.warnings)
    assert unkept.targets[0].routed.saving.value == pytest.approx(0.0)


@pytest.mark.slow
@pytest.mark.parametrize("fit", [TypeMeans, Ignorant])
def test_doubly_robust_intervals_hold_the_truth_and_naive_means_do_not(fit: type[TypeMeans]) -> None:
    shown = {"easy": 0.2, "hard": 0.8}
    agents = [*COST]
    truth = {agent: sum(SUCCESS[kind][agent] for kind in SUCCESS) / 2 for agent in agents}
    held, naive, runs = dict.fromkeys(agents, 0), dict.fromkeys(agents, 0), 40
    for seed in range(runs):
        tasks = hide(make_world(600, seed=100 + seed), shown, seed)
        report = savings_report(make_log(tasks), fit_predictor=fit, resamples=200, seed=seed)
        for agent in agents:
            single = next(judged for judged in report.singles if judged.name == agent)
            held[agent] += single.quality.low <= truth[agent] <= single.quality.high
            seen = np.array([task.outcomes[agent].quality for task in tasks if agent in task.outcomes])
            naive[agent] += abs(seen.mean() - truth[agent]) <= 1.96 * seen.std() / len(seen) ** 0.5
    assert report.method == "doubly robust"
    assert all(held[agent] >= 0.85 * runs for agent in agents), held
    assert naive["small"] == 0  # it was given the easy tasks


@pytest.mark.slow
def test_what_routing_is_said_to_reach_in_a_partial_log_is_what_it_reaches() -> None:
    world = make_world(4_000, seed=7)
    report = judge(hide(world, {"easy": 0.7, "hard": 0.7}, seed=8))
    routed = report.targets[1].routed
    truth = sum(share * SUCCESS[kind][agent] / 2 for kind in SUCCESS for agent, share in report.by_type[kind].items())
    assert report.by_type["easy"] == {"small": 1.0}
    assert report.by_type["hard"] == {"large": 1.0}
    assert routed.quality.low <= truth <= routed.quality.high
    assert routed.effective_tasks is not None
    # 1 / mean of the weights 1 / 0.3 and 1 / 0.7, of 4,000.
    assert routed.effective_tasks == pytest.approx(1_680, rel=0.1)
    assert all(target.oracle is None for target in report.targets)


def test_without_overlap_nothing_is_estimated_and_the_way_out_is_told() -> None:
    report = judge(hide(make_world(300, seed=1), {"easy": 0.0, "hard": 1.0}, seed=1))
    assert report.method == "none"
    assert not report.targets
    assert "drawn at random" in report.warnings[-1]


def test_an_agent_that_is_hardly_seen_is_left_out_and_named() -> None:
    tasks = hide(make_world(400, seed=1), {"easy": 0.5, "hard": 0.5}, seed=1)
    rare = [make_task(1_000 + n, "easy", {"exotic": (1.0, 0.0)}) for n in range(5)]
    report = judge([*tasks, *rare])
    assert "seen with 5 of 405 tasks" in report.excluded["exotic"]
    assert all("exotic" not in target.routed.uses for target in report.targets)


def test_tasks_given_by_their_length_are_noticed() -> None:
    tasks = hide(make_world(400, seed=1), {"easy": 0.5, "hard": 0.5}, seed=1)
    long = [replace(task, text=task.text * 9) if "large" in task.outcomes else task for task in tasks]
    assert not any("longer texts" in warning for warning in judge(tasks).warnings)
    assert any("texts than the others" in warning for warning in judge(long).warnings)


def test_tasks_that_lack_an_agent_are_left_out_and_counted() -> None:
    tasks = make_world(200, seed=1)
    lacking = [replace(task, outcomes={"small": task.outcomes["small"]}) for task in tasks[:20]]
    report = judge([*lacking, *tasks[20:]])
    assert (report.method, report.tasks) == ("paired", 180)
    assert any(warning.startswith("20 tasks lack") for warning in report.warnings)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"today": "nobody"}, "no agent 'nobody'.*large, small"),
        ({"shares": ()}, "quality share"),
        ({"shares": (float("nan"),)}, "quality share"),
        ({"folds": 1}, "2 to 20 folds"),
        ({"resamples": 1}, "100 resamples"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        savings_report(make_log(make_world(100, seed=1)), fit_policy=TypePolicy, **options)


def test_a_log_of_one_agent_of_few_tasks_or_without_cost_is_refused() -> None:
    world = make_world(100, seed=1)
    alone = [replace(task, outcomes={"large": task.outcomes["large"]}) for task in world]
    free = [make_task(n, "sums", {"a": (1.0, 0.0), "b": (0.0, 0.0)}) for n in range(100)]
    for tasks, told in ((alone, "one agent, 'large'"), (world[:10], "10 tasks"), (free, "costs nothing")):
        with pytest.raises(InvalidInput, match=told):
            judge(tasks)


@pytest.mark.slow
def test_a_file_becomes_a_report_a_picture_and_a_policy_for_use(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [
        f"{kind} {task.task_id},{kind},{agent},{outcome.quality},{outcome.cost_usd}"
        for task in make_world(120, seed=5)
        for kind in (task.task_type,)
        for agent, outcome in task.outcomes.items()
    ]
    path.write_text("\n".join(["prompt,type,agent,rating,cost", *rows]), encoding="utf-8")
    report = run_savings(path, plot=tmp_path / "curve.svg", save=tmp_path / "policy", resamples=100)
    assert report.method == "paired"
    assert (tmp_path / "curve.svg").stat().st_size > 1_000
    (choice,) = LearnedPolicy.load(tmp_path / "policy").choose([make_task(1, "hard", {})])
    assert choice is not None
    assert choice.strategy == Single(agent="large")
