"""What a log has settled chooses as the policy it was made of, within what may be used, and its file is untrusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedTask, read_arrays, write_arrays
from kapelle.evaluation.learned_policy import LearnedPolicy
from kapelle.evaluation.policy import RoutingPolicy
from kapelle.strategies import Single
from tests.estimates.test_predictor import HARD, world

TRAIN, TEST = world(400, seed=1), world(400, seed=2)
POLICY = RoutingPolicy.fit(TRAIN)
SETTLED = POLICY.settle(0.95)
HARD_ONE = LoggedTask(task_id="h", text=f"{HARD[1]} (77)", task_type="work")


def test_it_chooses_as_the_policy_at_that_point_also_after_a_restart(tmp_path: Path) -> None:
    chosen = POLICY.choose(TEST, POLICY.point(0.95))
    SETTLED.save(tmp_path / "p.npz")
    for policy in (SETTLED, LearnedPolicy.load(tmp_path / "p.npz")):
        choices = policy.choose(TEST)
        assert [one and one.strategy for one in choices] == chosen


def test_of_types_and_agents_that_the_log_does_not_know_it_says_nothing() -> None:
    unknown = LoggedTask(task_id="t", text=f"{HARD[1]} (77)", task_type="unheard of")
    assert SETTLED.choose([unknown, HARD_ONE])[0] is None
    assert SETTLED.choose([]) == []


def test_what_may_not_be_used_is_not_chosen_and_one_of_several_is_no_choice() -> None:
    assert SETTLED.choose([HARD_ONE], lambda number, strategy: strategy != Single(agent="strong")) == [None]
    (choice,) = SETTLED.choose([HARD_ONE])
    assert choice is not None
    assert choice.strategy == Single(agent="strong")
    assert 0 <= choice.quality <= 1


def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    SETTLED.save(path)
    about, arrays = read_arrays(path)
    policy = about["policy"]
    assert isinstance(policy, dict)
    for broken in (
        {**policy, "strategies": []},
        {**policy, "point": {"price": "dear"}},
        {**policy, "point": {**policy["point"], "share": float("nan")}},
        {**policy, "point": {**policy["point"], "share": 10**400}},
        {**policy, "point": {**policy["point"], "share": 1.5}},
        {**policy, "point": {**policy["point"], "price": -1.0}},
        {**policy, "allowed": 7},
        "no policy",
    ):
        write_arrays(path, {**{k: v for k, v in about.items() if k != "format"}, "policy": broken}, arrays)
        with pytest.raises(InvalidInput, match="Learn it again"):
            LearnedPolicy.load(path)
    for name in ("slopes", "type_effects", "cost_lines", "means"):
        told = {key: value for key, value in about.items() if key != "format"}
        write_arrays(path, told, {**arrays, name: np.full(arrays[name].shape, 1e300)})
        with pytest.raises(InvalidInput, match="Learn it again"):
            LearnedPolicy.load(path)
    path.write_bytes(b"half a file")
    with pytest.raises(InvalidInput, match="Learn it again"):
        LearnedPolicy.load(path)


def test_a_point_between_two_prices_mixes_task_by_task() -> None:
    prices = np.array([SETTLED.point.price, SETTLED.point.other_price])
    assert (prices >= 0).all()
    assert {str(one.strategy) for one in SETTLED.choose(TEST) if one} == {"weak", "strong"}
