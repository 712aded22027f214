"""README: "Everything can be asked why". Every choice, failure and omission has its reason, in words."""

from __future__ import annotations

import pytest

from .mending import params
from .ways import STRATEGIES, Way, play


@pytest.mark.parametrize("way", params("every choice has a reason"))
def test_every_choice_has_a_reason(way: Way) -> None:
    run = play(way).run
    assert run is not None
    for name in run.tasks:
        assert run.explanations[name].strip()
        if STRATEGIES[way.strategy].strategy is None:  # routing chose, and names whom
            assert run.assignments[name] in STRATEGIES[way.strategy].agents
    for task in run.tasks.values():
        if task.state in ("failed", "skipped", "cancelled"):
            assert (task.reason or "").strip(), task
        for attempt in task.attempts:
            if attempt.state == "failed":
                assert (attempt.reason or "").strip(), task
    if run.state == "waiting":
        assert all(question.text for question in run.open_questions)
    elif run.state != "done":
        assert (run.stop_reason or "").strip()
    for event in run.events:
        if event.kind == "task_finished" and STRATEGIES[way.strategy].strategy is not None:
            assert event.data["decision"].strip()


@pytest.mark.parametrize("way", params("a reason can be asked for"))
def test_the_reasons_are_told_to_whoever_asks(way: Way) -> None:
    run = play(way).run
    assert run is not None
    told = " ".join(run.explain().split())
    for task in run.tasks.values():
        if task.reason:
            assert " ".join(task.reason.split())[:60] in told
    if run.stop_reason:
        assert " ".join(run.stop_reason.split())[:60] in told
