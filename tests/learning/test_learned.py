"""What was learned is kept beside the ledger, used from there, and never the reason for a failed run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput, NotFound
from kapelle.estimates import CostProfiler, LoggedTask
from kapelle.graph import Task
from kapelle.learning import find_unreadable, learn, load_learned
from kapelle.learning.learned import POLICY_FILE, STRATEGIES_FILE, WORDS_FILE, RememberedPolicy
from kapelle.ledger import Outcome
from kapelle.strategies import Single, task_context
from tests.estimates.test_predictor import EASY, HARD, world


@pytest.mark.slow
def test_what_is_learned_is_found_again(tmp_path: Path) -> None:
    lessons = learn(world(), tmp_path / "learned")
    found = load_learned(tmp_path / "learned")
    assert (lessons.tasks, lessons.agents, lessons.types) == (300, 2, 1)
    assert found.words is not None
    assert found.strategies is not None
    profiler, weak = CostProfiler(found.words), AgentCapability(agent_id="weak", task_types=("work",))
    easy, hard = (profiler.estimate(weak, "work", text=f"{text[0]} (1)").success_rate for text in (EASY, HARD))
    assert hard < easy - 0.2
    assert {one.strategy for one in found.strategies.for_task("work", ["weak", "strong"])} >= {Single(agent="weak")}


def test_the_ledgers_outcomes_are_learned_from() -> None:
    outcomes = [
        Outcome(
            run_id=f"r{number}",
            task_id="t",
            task_type="work",
            agent=agent,
            success=True,
            quality=1.0,
            features={"text": task.text},
        )
        for number, task in enumerate(world(30))
        for agent in task.outcomes
    ]
    folder = Path(__file__).parent / "not-written"
    with pytest.raises(InvalidInput, match="cannot be made"):
        learn(outcomes, Path(__file__) / folder.name)


@pytest.mark.slow
def test_no_date_of_an_outcome_makes_all_later_ones_old(tmp_path: Path) -> None:
    outcomes = [
        Outcome(
            run_id=f"r{number}", task_id="t", task_type="work", agent=agent, success=True,
            quality=told.quality, features={"text": task.text}, at=4e9 if number == 7 else 1e9 + number,
        )
        for number, task in enumerate(world(60)) for agent, told in task.outcomes.items()
    ]  # fmt: skip
    learn(outcomes, tmp_path, clock=lambda: 2e9)
    found = load_learned(tmp_path).words
    assert found is not None
    words = found.load()
    assert words is not None
    assert words.learned_at == 2e9


def test_a_policy_is_asked_with_what_a_task_declares_for_its_answer(tmp_path: Path) -> None:
    asked: list[LoggedTask] = []

    class Policy:
        def choose(self, tasks: list[LoggedTask], may: object) -> list[None]:
            asked.extend(tasks)
            return [None] * len(tasks)

    task = Task(task_id="t", task_type="work", description="call it", metadata={"functions": [{"name": "f"}]})
    policy = RememberedPolicy(tmp_path / POLICY_FILE)
    policy._policy = Policy()  # type: ignore[assignment]
    assert policy.propose([task], lambda task, strategy: True) == {}
    assert [one.context for one in asked] == [task_context(task)]
    assert '"name": "f"' in asked[0].context


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no outcomes to learn from"):
        learn([], tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b'{"format": 99}'])
def test_damaged_files_are_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WORDS_FILE).write_bytes(content)
    (tmp_path / STRATEGIES_FILE).write_bytes(content)
    (tmp_path / POLICY_FILE).write_bytes(content)
    found = load_learned(tmp_path)
    assert found.strategies is None
    assert found.words is not None
    assert found.policy is not None
    assert found.policy.propose([Task(task_id="t", task_type="work")], lambda task, strategy: True) == {}
    anyone = AgentCapability(agent_id="anyone", task_types=("work",))
    assert CostProfiler(found.words).estimate(anyone, "work", text="anything").success_rate == 0.85


def test_what_an_earlier_version_learned_is_told_of_with_the_way_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "difficulty.npz").write_bytes(b"trees")
    with caplog.at_level("WARNING", logger="kapelle"):
        assert load_learned(tmp_path).words is None
    assert "difficulty.npz" in caplog.text
    assert "kapelle learn" in caplog.text
    assert [problem for problem in find_unreadable(tmp_path) if "kapelle learn" in problem]
    learn(world(60), tmp_path)
    assert not (tmp_path / "difficulty.npz").exists()
    assert find_unreadable(tmp_path) == ()


def test_the_newest_outcome_says_until_when_words_were_learned(tmp_path: Path) -> None:
    rows = [
        Outcome(
            run_id=task.task_id, task_id="t", task_type="work", agent=agent, success=True,
            quality=found.quality, cost_usd=found.cost_usd, features={"text": task.text}, at=1000.0 + number,
        )
        for number, task in enumerate(world(60))
        for agent, found in task.outcomes.items()
    ]  # fmt: skip
    learn(rows, tmp_path)
    found = load_learned(tmp_path).words
    assert found is not None
    words = found.load()
    assert words is not None
    assert words.learned_at == 1059.0
    assert set(words.slopes) == {"weak", "strong"}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    found = load_learned(tmp_path / "nowhere")
    assert (found.words, found.strategies, found.policy) == (None, None, None)
    assert load_learned(None) == found


def test_answers_that_nothing_measured_teach_nothing_and_the_message_says_what_would(tmp_path: Path) -> None:
    unchecked = Outcome(run_id="r", task_id="t", task_type="work", agent="a", success=True, features={"text": "x"})
    with pytest.raises(InvalidInput, match=r"nothing has measured how good any answer was.*kapelle rate"):
        learn([unchecked] * 30, tmp_path / "learned")


@pytest.mark.slow
def test_a_log_that_allows_no_choice_leaves_no_policy_of_before_and_says_why(tmp_path: Path) -> None:
    assert (learn(world(), tmp_path).policy, (tmp_path / POLICY_FILE).is_file()) == (
        "Runs choose as `kapelle savings` says for 100 % of today's quality.",
        True,
    )
    alone = [replace(task, outcomes={"weak": task.outcomes["weak"]}) for task in world()]
    assert "knows one agent" in learn(alone, tmp_path).policy
    assert not (tmp_path / POLICY_FILE).exists()


@pytest.mark.parametrize("keep", [0, -1, 2, True, float("nan"), "1", None])
def test_a_share_to_keep_that_is_none_is_refused(tmp_path: Path, keep: float) -> None:
    with pytest.raises(InvalidInput, match="share of today's quality"):
        learn(world(60), tmp_path, keep=keep)


def test_a_slip_in_the_name_of_todays_agent_takes_no_policy_away(tmp_path: Path) -> None:
    policy = tmp_path / POLICY_FILE
    policy.write_bytes(b"of before")
    with pytest.raises(InvalidInput, match="no agent 'strnog'"):
        learn(world(60), tmp_path, today="strnog")
    assert policy.read_bytes() == b"of before"


def test_a_policy_that_is_not_there_is_named_and_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"policy.*slip.npz.*--save"):
        load_learned(tmp_path / "slip.npz")
    assert load_learned(tmp_path / "not yet").policy is None
