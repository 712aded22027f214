"""A share of the simulation: the engine in simulated worlds, and that the simulation would notice if it were wrong."""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.simulate.checking import check
from bench.simulate.model import judge
from bench.simulate.planted import BUGS, ROOT, Planted, plant
from bench.simulate.play import History, Item, play
from bench.simulate.shrink import as_script, shrink
from bench.simulate.world import Act, AgentSpec, Session, TaskSpec, World, draw_world
from tests.scale import scaled
from tests.simulate.worlds import WORLDS


@pytest.fixture(autouse=True, scope="module")
def _collections_are_quick() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


SEEDS = int(os.environ.get("KAPELLE_SIMULATED_SEEDS") or scaled(750, least=20))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_the_engine_keeps_the_rules_in_every_world(part: int) -> None:
    for seed in range(part, SEEDS, 10):
        found = check(draw_world(seed))
        assert found is None, f"python -m bench.simulate --first {seed} --seeds 1: {found}"


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_that_failed_once_fails_no_more(name: str) -> None:
    assert check(WORLDS[name]) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 17, 48, 101, 245, 991])
def test_a_world_is_repeatable_to_the_event(seed: int) -> None:
    world = draw_world(seed)
    assert draw_world(seed) == world
    assert play(world).fingerprint == play(world).fingerprint


def test_seeds_make_worlds_of_every_kind_of_trouble() -> None:
    worlds = [draw_world(seed) for seed in range(400)]
    does = {act.does for world in worlds for script in world.scripts.values() for act in script}
    assert does == {"answer", "odd", "fail", "crash", "again", "ask", "hang", "stubborn", "grow"}
    for name in ("grows", "replans", "reflects", "people", "sessions", "deadline_s", "hedge_after_s", "budget_usd"):
        assert 20 < sum(bool(getattr(world, name)) for world in worlds) < 400, name
    tasks = [task for world in worlds for task in world.tasks]
    assert {task.way.kind for task in tasks} == {"single", "cascade", "vote"}
    assert {task.on_failure for task in tasks} == {"skip", "continue", "fail"}
    assert {task.needs for task in tasks} == {"all", "some"}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_planted_bug_fits_the_source(bug: Planted, tmp_path: Path) -> None:
    file = tmp_path / bug.file
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "src" / "kapelle" / bug.file, file)
    plant(bug, tmp_path)
    compile(file.read_text(encoding="utf-8"), bug.file, "exec")
    with pytest.raises(ValueError, match="fits 0 places"):
        plant(bug, tmp_path)


TWO = World(
    tasks=(TaskSpec(name="t0"), TaskSpec(name="t1", after=("t0",))),
    agents=(AgentSpec(name="a"),),
    scripts={("t0", "a"): (Act(cost_usd=0.02),)},
    budget_usd=1.0,
)


def events(history: History, kind: str) -> list[int]:
    return [at for at, item in enumerate(history.items) if item.kind == "event" and item.data["kind"] == kind]


def with_items(history: History, *items: Item) -> History:
    return dataclasses.replace(history, items=list(items))


def test_the_model_finds_nothing_wrong_with_two_tasks_in_a_row() -> None:
    assert judge(play(TWO)) is None


@pytest.mark.parametrize("kind", ["task_started", "task_finished", "run_finished", "run_approved"])
def test_the_model_notices_an_event_that_is_missing(kind: str) -> None:
    history = play(TWO)
    del history.items[events(history, kind)[-1]]
    assert judge(history) is not None


@pytest.mark.parametrize("kind", ["task_started", "task_finished", "run_started"])
def test_the_model_notices_an_event_that_is_told_twice(kind: str) -> None:
    history = play(TWO)
    at = events(history, kind)[-1]
    history.items.insert(at, history.items[at])
    assert judge(history) is not None


def test_the_model_notices_a_task_that_begins_before_its_input() -> None:
    history = play(TWO)
    first, second = events(history, "task_started")
    item = history.items.pop(second)
    history.items.insert(first + 1, item)
    assert "begins before t0" in (judge(history) or "")


@pytest.mark.parametrize(("name", "value"), [("cost_usd", 0.05), ("output", 2), ("output", "1"), ("output", True)])
def test_the_model_notices_a_wrong_charge_and_a_wrong_answer(name: str, value: object) -> None:
    history = play(TWO)
    at = events(history, "task_finished")[0]
    item = history.items[at]
    data = {**item.data, "data": {**item.data["data"], name: value}}
    history.items[at] = dataclasses.replace(item, data=data)
    assert judge(history) is not None


def test_the_model_notices_an_agent_that_is_called_twice() -> None:
    history = play(TWO)
    at = next(at for at, item in enumerate(history.items) if item.kind == "begin")
    history.items.insert(at, dataclasses.replace(history.items[at], call=99))
    assert "tells of no attempt" in (judge(history) or "")


def test_the_model_notices_what_the_agent_was_told_wrongly() -> None:
    history = play(TWO)
    at = [at for at, item in enumerate(history.items) if item.kind == "begin"][1]
    for name, value in (("upstream", {}), ("key", "simulated/other"), ("missing", ["t0"]), ("answers", ["so"])):
        item = history.items[at]
        doctored = dataclasses.replace(item, data={**item.data, name: value})
        items = [*history.items[:at], doctored, *history.items[at + 1 :]]
        assert judge(with_items(history, *items)) is not None, name


def test_a_failing_world_is_made_as_small_as_it_can_be_and_printed_as_a_script() -> None:
    def fails(world: World) -> bool:
        return any(task.name == "t3" and task.risk == "high" for task in world.tasks) and len(world.sessions) > 0

    seed = next(seed for seed in range(10_000) if fails(draw_world(seed)))
    small = shrink(draw_world(seed), fails)
    assert [task.name for task in small.tasks] == ["t3"]
    assert small.tasks[0] == TaskSpec(name="t3", risk="high", way=small.tasks[0].way)
    assert len(small.sessions) == 1
    assert not small.scripts
    script = as_script(small).replace("print(judge(play(world)))", "")
    found: dict[str, object] = {}
    exec(script, found)
    assert found["world"] == small
    assert found["Session"] is Session
