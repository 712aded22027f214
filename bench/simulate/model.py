"""The reference model: what the documented rules of a run (docs/guarantees.md) allow, and what they demand.

It is a slow and obvious interpreter. It reads a history item by item, keeps its own account of every task, attempt,
question and dollar, and says of each item whether the rules allow it in the state that the run is in by then; and at
every end of a run, whether anything was left undone. What the agents did it takes from the agents, never from the
engine. It shares nothing with the engine: not a line, not a type, not a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .play import RUN_ID, History, Item
from .world import PLANNING_USD, REFLECT_USD, REPLAN_USD, Act, TaskSpec, Way, World

SLACK_S = 7.0
"""A stop is heard within a second, waits two for agents to tidy up, and for a change to be approved before."""
LEASE_S = 31.0
FIRST_S = 60.0
"""Others wait no longer for the first that asks an agent which wanted to be left alone."""
CENT = 1e-7
"""Sums of dollars differ by less."""
OVER = ("done", "failed", "skipped", "cancelled")


class Violation(Exception):
    """A rule was broken."""


def judge(history: History) -> str | None:
    """Return the first rule that a history breaks, and where; None if it breaks none."""
    model = _Model(history.world)
    for place, item in enumerate(history.items):
        try:
            model.take(item)
        except Violation as problem:
            return f"item {place}, at {item.at:g} s, session {item.session}: {problem}"
    if history.complaints:
        return f"asyncio complained: {history.complaints[0]}"
    return model.at_the_end(history)


@dataclass(kw_only=True)
class _Call:
    agent: str
    session: int
    does: str = "answer"
    """What it is about to do: who is stubborn does not stop at once."""
    act: Act | None = None
    """What it did; None while it is under way, and where it was cut off."""
    is_over: bool = False
    attempt: _Attempt | None = None


@dataclass(kw_only=True)
class _Attempt:
    agent: str
    session: int
    reserved: float
    step: str = "single"
    call: _Call | None = None
    at: float = 0.0
    """When it began."""
    again_at: float = 0.0
    """When it may be made again at the earliest."""
    is_open: bool = True
    succeeded: bool = False
    is_cut_off: bool = False
    value: Any = None
    passed: bool | None = None
    check: _Attempt | None = None
    """The call of the judge that its answer is examined by."""


@dataclass(kw_only=True)
class _Life:
    """A task from its start to its end, or to the question or the crash after which it begins anew."""

    attempts: list[_Attempt] = field(default_factory=list)
    is_told_apart: bool = False
    first_number: int = 0


@dataclass(kw_only=True)
class _Question:
    task: str
    about: str
    kind: str
    asker: str | None
    """The agent that asked; None where the engine did."""
    given: Mapping[str, Any]
    """Outputs that the task was given when it was asked: an answer holds for these."""
    answer: Any = None
    is_open: bool = True


@dataclass(kw_only=True)
class _TaskState:
    spec: TaskSpec
    after: list[str]
    state: str = "waiting"
    life: _Life | None = None
    numbered: int = 0
    """Attempts that the ledger has told apart so far, over all lives."""
    output: Any = None
    begun_at_risk: bool = False
    """Whether it may have taken effect, and no person said since that it may run again."""


class _Model:
    def __init__(self, world: World) -> None:
        self.world = world
        self.agents = {agent.name: agent for agent in world.agents}
        self.tasks: dict[str, _TaskState] = {}
        self.gone: dict[str, _TaskState] = {}
        self.calls: dict[int, _Call] = {}
        self.questions: dict[str, _Question] = {}
        self.planning: dict[str, float] = {}
        """Calls of planners under way, with what is set aside, by the task that they are about."""
        self.replanning: set[str] = set()
        self.state = "none"
        self.owner = -1
        self.dead: set[int] = set()
        self.died_at: dict[int, float] = {}
        self.ended: set[int] = set()
        self.cap: float | None = None
        self.caps: dict[int, float | None] = {}
        self.spent = 0.0
        self.excess = 0.0
        self.estimates: dict[str, float] = {}
        self.is_stopping = False
        self.was_stopping = False
        self.must_fail: str | None = None
        self.was_refused = False
        self.is_first = True
        self.was_approved = False
        self.was_lost = False
        """Whether it was killed before the plan that was given was written down: it has to be given again."""
        self.failures: dict[str, int] = {}
        self.now = 0.0
        self.began: dict[int, float] = {}
        """When each session began."""
        self.deadlines: dict[int, float | None] = {}
        self.most_set_aside = 0.0
        self.settled: set[str] = set()
        """Agents of which something is known: from then on what is set aside for them is learned."""
        self.tried: dict[str, int] = {}
        """How many attempts of an agent have ended."""
        self.rests: dict[str, float] = {}
        """Until when an agent wants to be left alone."""
        self.first: dict[str, _Attempt | None] = {}
        """Agents that one attempt asks alone after that, until it has ended: that attempt, once it has begun."""
        self.told: dict[str, list[float]] = {}
        """What an agent's attempts have told that they cost."""
        self.answered: dict[str, int] = {}
        """How often an agent has answered."""
        self.owed_replanning: set[str] = set()
        self.refused_changes: set[str] = set()
        self.owed_change: set[str] = set()
        """Tasks that are done, after which a reflector is to change the graph."""

    # Reading a history

    def take(self, item: Item) -> None:
        """Take in what happened, or say why it must not have."""
        if item.at > self.now:
            self._time_passes(item.at)
        match item.kind:
            case "session":
                self.caps[item.session] = item.data["budget_usd"]
                self.began[item.session], self.deadlines[item.session] = item.at, item.data["deadline_s"]
            case "killed":
                self.dead.add(item.session)
                self.died_at[item.session] = item.at
            case "begin":
                self._begin(item)
            case "end" | "cancelled":
                call = self.calls.get(item.call)
                if call is not None:
                    call.is_over = True
                if call is not None and item.kind == "end":
                    call.act = Act(**item.data)
                    if call.act.does == "stubborn":  # nobody wanted it to stop
                        call.act = Act(value=call.act.value, cost_usd=call.act.cost_usd)
                    if call.act.does not in ("answer", "grow", "ask"):
                        self.failures[call.agent] = self.failures.get(call.agent, 0) + 1
            case "event":
                self._event(item)
            case "over":
                self._over(item)
            case "read":
                raise Violation(item.data["problem"])

    def at_the_end(self, history: History) -> str | None:
        """Return what is wrong with the run as the ledger tells it in the end."""
        run = history.run
        if run is None:
            return "the run cannot be read in the end"
        if self.state in ("planning", "running") and not self.was_lost:
            return f"it was left {self.state}, and nothing works on it"
        if run.run_id != RUN_ID or abs(run.cost_usd - self.spent) > CENT:
            return f"the run says that it cost ${run.cost_usd:.6f}; its charges add up to ${self.spent:.6f}"
        for name, task in self.tasks.items():
            if run.tasks[name].state != task.state:
                return f"{name} is {task.state} by its events, and {run.tasks[name].state} in the run"
            if task.state == "done" and run.results[name] != task.output:
                return f"the output of {name} is not what its agent gave"
        return None

    # Events

    def _event(self, item: Item) -> None:
        kind, data = item.data["kind"], item.data["data"]
        if kind in ("run_started", "run_resumed"):
            if self.owner >= 0 and item.session != self.owner and not self._may_take_over(item.session):
                raise Violation(f"session {item.session} takes the run from session {self.owner}, which works on it")
            self.owner = item.session
            self.was_stopping = self.is_stopping
            self.is_stopping = False
            self.rests.clear()  # a new engine asks once, and is told
            self.first.clear()
            if self.caps.get(item.session) is not None:
                self.cap = self.caps[item.session]
        if item.session != self.owner or item.session in self.dead:
            raise Violation(f"{kind} is written by session {item.session}, and the run is session {self.owner}'s")
        if item.task is not None:
            self._expect(self.state == "running", f"{kind} of {item.task}, and the run is {self.state}")
        getattr(self, f"_on_{kind}")(item, data, self._task(item.task) if item.task is not None else None)
        if self.cap is not None and self.spent + self._set_aside > self.cap + self.excess + CENT:
            raise Violation(
                f"${self.spent:.6f} are spent and ${self._set_aside:.6f} set aside, of ${self.cap:.6f}, and the tasks "
                f"took only ${self.excess:.6f} more than was set aside for them"
            )

    def _may_take_over(self, session: int) -> bool:
        before = self.owner
        world_sessions = self.world.sessions
        trouble = world_sessions[before] if before < len(world_sessions) else None
        was_silent = trouble is not None and (trouble.overtaken_at_s is not None or trouble.deaf_s[1] > 0)
        return before in self.dead or before in self.ended or was_silent

    def _on_run_started(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self._expect(self.state == "none", "the run begins twice")
        self.state = "planning"

    def _on_run_planned(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self.tasks = {spec.name: _TaskState(spec=spec, after=list(spec.after)) for spec in self.world.tasks}

    def _on_run_routed(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self._expect(self.state == "planning", "it is routed when it is planned")

    def _on_run_rejected(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self.was_refused = True

    def _on_run_approved(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self.state, self.was_approved = "running", True
        self.estimates = {name: one["cost_usd"] for name, one in data["estimates"].items()}

    def _on_run_resumed(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self._expect(self.state != "done", "a run that is done goes on")
        self.is_first = False
        if self.state in ("partial", "failed", "stopped") or self.was_stopping:
            self.must_fail = None
            self.owed_replanning.clear()
            for task in self.tasks.values():
                if task.state in ("failed", "skipped", "cancelled"):
                    task.state = "waiting"
        self.state = data["state"]
        self.replanning.clear()
        self.owed_change.clear()  # what somebody was to think about when the engine died is not thought about again

    def _on_run_waiting(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        self._expect(self.must_fail is None, f"{self.must_fail} failed, and must end the run")
        self._expect(any(task.state == "asking" for task in self.tasks.values()), "it waits, and nobody was asked")
        self._expect_nothing_left()
        self.state = "waiting"

    def _on_run_finished(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        before, state = self.state, data["state"]
        by_state = {name: task.state for name, task in self.tasks.items()}
        self.state = state
        if before == "planning":
            return  # nothing was approved
        if self.must_fail is not None:
            self._expect(state in ("failed", "stopped"), f"{self.must_fail} failed, and the run ends as {state}")
        if state == "done":
            self._expect(set(by_state.values()) == {"done"}, f"it is done, and its tasks are {by_state}")
            return
        has_stopped = self.is_stopping or self.must_fail is not None or self._may_stop(item)
        if not has_stopped:
            has_failed = "failed" in by_state.values()
            right = ("partial" if "done" in by_state.values() else "failed") if has_failed else "stopped"
            self._expect(state == right, f"it ended as {state}, and is {right}: {by_state}")
            refused = self.owed_change - self.refused_changes
            self._expect(not refused or not self._has_plenty, f"nobody thought about {sorted(refused)}")
        left = [name for name, one in by_state.items() if one not in OVER and not (has_stopped and one == "asking")]
        self._expect(not left, f"it ended as {state}, and {left} were forgotten")
        self._expect(any(one != "done" for one in by_state.values()), f"all is done, and it ended as {state}")
        if state == "partial":
            self._expect({"failed", "done"} <= set(by_state.values()), f"it ended as partial with {by_state}")
        for task in self.tasks.values():
            self._expect(task.state != "running", "a task runs on after the end")

    def _on_planning_started(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        place = data["replaces"]
        self._expect(place in self.tasks, f"{place} is planned anew, and is no task")
        self._expect(place not in self.planning, f"{place} is planned anew twice at once")
        self._expect(not self.is_stopping, "planning begins while the run stops")
        risky = self.tasks[place].state == "failed" and self.tasks[place].spec.risk == "high"
        self._expect(not risky, f"{place} is of high risk and failed, and its work is planned anew unasked")
        self._pay(data.get("reserved_usd", 0.0))
        right = PLANNING_USD if self.world.replans else 0.0
        self._expect(abs(data.get("reserved_usd", 0.0) - right) < CENT, f"planning sets aside {data!r}, not ${right}")
        self.planning[place] = data.get("reserved_usd", 0.0)
        self.owed_replanning.discard(place)
        if self.tasks[place].state == "failed":
            self.replanning.add(place)
            if self.must_fail == place:
                self.must_fail = None

    def _on_planning_spent(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        place = data.get("replaces")
        self.is_stopping = self.is_stopping or bool(data.get("by_stop"))
        if place is None:  # what was cut off, all together
            cost = sum(self.planning.values())
            self._expect(abs(cost - data.get("planning_cost_usd", 0.0)) < CENT, "cut off planning is charged wrongly")
            for one in self.planning:
                task = self.tasks.get(one)
                if task is not None and task.state == "failed" and task.spec.on_failure == "fail":
                    self.must_fail = one  # unless somebody begins to plan it anew again
            self.planning.clear()
            self.spent += cost
            return
        finds = REPLAN_USD if place in self.replanning else REFLECT_USD
        there_is = bool(self.world.replans.get(place) if place in self.replanning else place in self.world.reflects)
        cut_off = self._may_stop(item) or self.must_fail is not None or "took longer" in data["reason"]
        allowed = [finds if there_is else 0.0, *([0.0] if place not in self.replanning else [])]
        allowed += [self.planning.get(place, 0.0)] if cut_off else []
        self._settle_planning(place, data, allowed)
        self.refused_changes.add(place)
        self.replanning.discard(place)
        task = self.tasks.get(place)
        if task is not None and task.state == "failed" and task.spec.on_failure == "fail":
            self.must_fail = place

    def _settle_planning(self, place: str, data: Mapping[str, Any], allowed: list[float]) -> None:
        reserved, cost = self.planning.pop(place, 0.0), data.get("planning_cost_usd", 0.0)
        fits = any(abs(cost - one) < CENT for one in allowed)
        self._expect(fits, f"planning after {place} is charged ${cost:.6f}, and not one of {allowed}")
        self.spent += cost
        self.excess += max(0.0, cost - reserved)

    def _on_graph_patched(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        place = data["replaces"]
        self._settle_planning(place, data, [REPLAN_USD if place in self.replanning else REFLECT_USD])
        self._expect(not self.is_stopping, "the graph changes while the run stops")
        if place in self.replanning:
            self._expect(bool(self.world.replans.get(place)), f"{place} was planned anew, and there is no other way")
            self.replanning.discard(place)
            self._replace(place, self.world.replans[place], data)
            return
        new = self.world.reflects.get(place)
        self._expect(new is not None and new not in self.tasks, f"nobody changes the graph after {place}")
        assert new is not None
        self.owed_change.discard(place)
        spec, agent = self.world.specs[new], data["assignments"].get(new)
        if agent != spec.way.agents[0]:  # validation gave it to another, as it may
            spec = replace(spec, way=Way(agents=(agent,)))
        self.tasks[new] = _TaskState(spec=spec, after=[place])
        self.is_first = False
        self._learn_estimates(data)

    def _on_plan_reassigned(self, item: Item, data: Mapping[str, Any], _: Any) -> None:
        moved = data["assignments"]
        self._expect(self.world.reassigns and self.state == "running", f"{sorted(moved)} go to others unasked")
        self._expect(not self.is_stopping, "the rest is assigned anew while the run stops")
        self._expect(
            bool(moved) and bool(data["reason"]), "the rest is assigned anew, and nothing changes, or no reason"
        )
        for name, agent in moved.items():
            task = self._task(name)
            self._expect(task.state == "waiting", f"{name} goes to {agent}, and is {task.state}")
            self._expect(agent in self.agents, f"{name} goes to {agent}, whom nobody knows")
            self._expect(task.spec.way != Way(agents=(agent,)), f"{name} goes to {agent}, who has it")
            self._expect(agent in data["explanations"].get(name, ""), f"{name} goes to {agent}, and nobody says why")
            told = self._was_approved(name, "start", "rerun")
            self._expect(not told, f"{name} goes to {agent}, and a person approved another")
            task.spec = replace(task.spec, way=Way(agents=(agent,)))
        self._learn_estimates(data)

    def _on_task_expanded(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        life = self._life(task)
        if not life.is_told_apart:
            self._settle(life.attempts[0], data)
        self._expect(not _has_open(life), f"{item.task} grows, and attempts are open")
        grows = [one for one in life.attempts if one.call and one.call.act and one.call.act.does == "grow"]
        self._expect(bool(grows), f"{item.task} grows, and its agent did not say so")
        self._replace(task.spec.name, self.world.grows[task.spec.name], data)

    def _replace(self, place: str, children: tuple[TaskSpec, ...], data: Mapping[str, Any]) -> None:
        """Other tasks take the place of one: the first of them wait for what it waited for, and others for the last."""
        old = self.tasks.pop(place)
        self.gone[place] = old
        inner = {child.name for child in children}
        inside = {name for child in children for name in child.after}
        specs = self.world.specs
        for child in children:
            name = f"{place}-{child.name}"
            after = [f"{place}-{one}" for one in child.after if one in inner] or list(old.after)
            spec, agent = specs[name], data["assignments"].get(name)
            spec = replace(spec, priority=max(old.spec.priority, spec.priority))
            due = [one for one in (old.spec.deadline_s, spec.deadline_s) if one is not None]
            spec = replace(
                spec, risk="high" if old.spec.risk == "high" else spec.risk, deadline_s=min(due, default=None)
            )
            if old.state == "failed":  # planned anew: other work than a person has approved
                spec = replace(spec, approval=spec.approval or old.spec.approval)
            if not set(child.after) & inner:
                spec = replace(spec, needs=old.spec.needs)
            if child.name not in inside:
                spec = replace(spec, on_failure=old.spec.on_failure)
            if agent != spec.way.agents[0]:  # validation gave it to another, as it may
                spec = replace(spec, way=Way(agents=(agent,)))
            self.tasks[name] = _TaskState(spec=spec, after=after)
        ends = [f"{place}-{child.name}" for child in children if child.name not in inside]
        for task in self.tasks.values():
            if place in task.after:
                at = task.after.index(place)
                task.after[at : at + 1] = [name for name in ends if name not in task.after]
        self._learn_estimates(data)
        self.is_first = False

    def _learn_estimates(self, data: Mapping[str, Any]) -> None:
        self.estimates |= {name: one["cost_usd"] for name, one in data.get("estimates", {}).items()}

    # Events of tasks

    def _on_task_started(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        name, spec = task.spec.name, task.spec
        self._expect(task.state == "waiting", f"{name} starts, and is {task.state}")
        self._expect(not self.is_stopping, f"{name} starts while the run stops")
        self._expect(self.must_fail is None, f"{name} starts, though {self.must_fail} failed and must end the run")
        self._expect_inputs(task)
        if spec.approval:
            self._expect(self._was_approved(name, "start", "rerun"), f"{name} starts, and nobody approved it")
        if spec.risk == "high" and task.begun_at_risk:
            raise Violation(f"{name} is of high risk and may have taken effect, and begins again unasked")
        self._pay(data.get("reserved_usd", 0.0))
        self._expect_may_be_asked(data["agent"])
        self._expect_urgent(task)
        self._expect_set_aside(data["agent"], data.get("reserved_usd", 0.0))
        task.state, task.begun_at_risk = "running", True
        task.life = _Life(first_number=task.numbered)
        agent = data["agent"]
        self._expect(agent in spec.way.agents, f"{agent} begins {name}, which is {spec.way!r}")
        reserved = data.get("reserved_usd", 0.0)
        task.life.attempts.append(_Attempt(agent=agent, session=item.session, reserved=reserved, at=item.at))
        self._may_be_first(task.life.attempts[-1])

    def _on_attempt_started(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        life, agent, name = self._life(task), data["agent"], task.spec.name
        reserved = data.get("reserved_usd", 0.0)
        if not life.is_told_apart:  # the first attempt is told of once more, with a number of its own
            life.is_told_apart = True
            first = life.attempts[0]
            self._expect(first.agent == agent, f"{name} began with {first.agent}, and its first attempt is {agent}'s")
            self._expect(abs(first.reserved - reserved) < CENT, f"{name} set aside two sums for one attempt")
            first.step = data["step"]
            task.numbered += 1
            return
        self._expect(not self.is_stopping, f"{name} is tried again while the run stops")
        number = data["attempt"]
        self._expect(number == task.numbered, f"attempt {number} of {name} begins, after {task.numbered}")
        task.numbered += 1
        if not self._is_refused(task, agent, reserved):
            self._expect_may_be_asked(agent)
            self._expect_may_try(task, life, agent, data["step"])
            self._expect_set_aside(agent, reserved)
        self._pay(reserved)
        new = _Attempt(agent=agent, session=item.session, reserved=reserved, step=data["step"], at=item.at)
        life.attempts.append(new)
        if not self._is_refused(task, agent, reserved):
            self._may_be_first(new)

    def _expect_may_try(self, task: _TaskState, life: _Life, agent: str, step: str) -> None:
        name, way = task.spec.name, task.spec.way
        tries = [one for one in life.attempts if one.agent == agent]
        if tries:
            self._expect(task.spec.risk != "high", f"{name} is of high risk, and {agent} tries it twice")
            rivals = [one for one in tries if one.is_open]
            self._expect(len(rivals) <= 1, f"{agent} has three attempts at {name} under way")
            if rivals:
                after_s = self.world.hedge_after_s
                late = after_s is not None and self.now >= rivals[0].at + after_s - CENT
                self._expect(late, f"{agent} has two attempts at {name} under way, and the first is not late")
            self._expect(not any(one.succeeded for one in tries), f"{agent} has answered {name}, and is asked again")
            failed = [one for one in tries if not one.is_open]
            for one in failed:
                does = None if one.call is None or one.call.act is None else one.call.act.does
                ok = does == "again" or self.world.hedge_after_s is not None
                self._expect(ok, f"{agent} tries {name} again, after it failed with {does!r}, which does not pass")
            self._expect(len(failed) < self.world.max_attempts, f"{agent} tries {name} too often")
            early = [one for one in failed if self.now < one.again_at - CENT]
            self._expect(not early, f"{agent} tries {name} again before its delay is over")
        elif step == "fallback":
            self._expect(task.spec.risk != "high", f"{name} is of high risk, and another agent tries it")
            self._expect(not task.spec.approval, f"{name} was approved for one agent, and another one tries it")
            others = {one.agent for one in life.attempts if one.step == "fallback"}
            self._expect(len(others) < self.world.max_fallbacks, f"{name} has too many fallbacks")
            self._expect(agent in self.agents, f"{agent} cannot do {name}")
            self._expect_came_to_nothing(task, life, but_fallbacks=True)
        else:
            self._expect(agent in way.agents or agent == way.escalate_to, f"{agent} is not asked by {way!r}")
            if way.kind == "single":
                raise Violation(f"{agent} is asked for {name} besides {way.agents[0]}")
            if way.kind == "cascade":
                cheap = _answer_of(life, way.agents[0])
                done = cheap is not None and (not cheap.succeeded or cheap.passed is False)
                self._expect(done, f"{agent} is asked for {name} before {way.agents[0]} came to nothing")
            if agent == way.escalate_to:
                answers = [_answer_of(life, one) for one in way.agents]
                self._expect(all(answers), f"{agent} is asked for {name} before all have voted")
                self._expect(_votes(life, way)[1] < 2, f"{agent} is asked for {name}, and enough agreed")

    def _on_attempt_finished(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        life = self._life(task)
        place = data["attempt"] - life.first_number
        self._expect(0 <= place < len(life.attempts), f"attempt {data['attempt']} of {item.task} never began")
        attempt = life.attempts[place]
        if "retry_in_s" in data:
            tries = sum(1 for one in life.attempts if one.agent == attempt.agent and not one.is_open)
            longest = min(2.0, 0.5 * 2.0**tries)
            self._expect(0 <= data["retry_in_s"] <= longest, f"{attempt.agent} waits {data['retry_in_s']} s")
            attempt.again_at = item.at + data["retry_in_s"]
        self._settle(attempt, data)
        if "reason" not in data:
            self._take_answer(task, attempt, data["output"])
        elif attempt.call is not None and attempt.call.act is not None and attempt.call.act.does == "answer":
            spared = ("The other attempt was faster", "Another agent asked", "It took longer", "It was interrupted")
            self._expect(
                attempt.is_cut_off or self.is_stopping or data["reason"].startswith((*spared, "The deadline")) or
                "stopped by" in data["reason"] or "on_failure" in data["reason"],
                f"{attempt.agent} answered {item.task}, and the attempt failed: {data['reason']!r}",
            )  # fmt: skip

    def _on_check_started(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        attempt = self._life(task).attempts[data["attempt"] - self._life(task).first_number]
        self._expect(not self.is_stopping, f"an answer to {item.task} is checked while the run stops")
        self._expect(attempt.succeeded, f"an answer to {item.task} is checked that was never given")
        self._expect(attempt.check is None, f"an answer to {item.task} is checked twice")
        judge = task.spec.way.judge
        self._expect(judge is not None, f"{item.task} has no judge")
        assert judge is not None
        self._expect_may_be_asked(judge)
        self._pay(data.get("reserved_usd", 0.0))
        reserved = data.get("reserved_usd", 0.0)
        attempt.check = _Attempt(agent=judge, session=item.session, reserved=reserved, at=item.at)
        self._may_be_first(attempt.check)

    def _on_attempt_checked(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        life = self._life(task)
        attempt = life.attempts[data["attempt"] - life.first_number]
        self._expect(attempt.succeeded, f"an answer to {item.task} is checked that was never given")
        attempt.passed = data["passed"]
        if attempt.check is not None:
            self._settle(attempt.check, data)
            act = attempt.check.call.act if attempt.check.call is not None else None
            right = act is not None and act.does == "answer" and act.value == 1
            late = not data["passed"] and (attempt.check.is_cut_off or self.is_stopping or self._stops(item))
            self._expect(late or data["passed"] == right, f"the judge said {act!r}, and it passed: {data['passed']}")
            return
        right = isinstance(attempt.value, int)
        unpaid = "was not checked" in data["note"] and task.spec.way.judge is not None
        fits = data["passed"] == right and task.spec.way.judge is None
        self._expect(fits or (unpaid and not data["passed"]), f"{attempt.value!r} passed its check: {data['passed']}")

    def _on_task_finished(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        name, life, way = task.spec.name, self._life(task), task.spec.way
        self._expect(task.state == "running", f"{name} is finished, and was {task.state}")
        if not life.is_told_apart:
            attempt = self._only_attempt(task)
            self._settle(attempt, data)
            self._take_answer(task, attempt, data["output"])
            chosen: _Attempt | None = attempt
        else:
            self._expect(not _has_open(life), f"{name} is done, and attempts are open")
            chosen = self._chosen(task, life, way)
        self._expect(chosen is not None, f"{name} is done, and its strategy has no answer")
        assert chosen is not None
        same = data["output"] == chosen.value and type(data["output"]) is type(chosen.value)
        self._expect(same, f"{name} is done with {data['output']!r}; its answer was {chosen.value!r}")
        task.state, task.output = "done", data["output"]
        if name in self.world.reflects and self.world.reflects[name] not in self.tasks and not self._may_stop(item):
            self.owed_change.add(name)

    def _chosen(self, task: _TaskState, life: _Life, way: Way) -> _Attempt | None:
        """Return whose answer is to be taken, by the strategy or else by a fallback."""
        for one in life.attempts:
            if one.step == "fallback" and one.succeeded:
                return one
        match way.kind:
            case "cascade":
                cheap = _answer_of(life, way.agents[0])
                if cheap is not None and cheap.succeeded and cheap.passed:
                    return cheap
                strong = _answer_of(life, way.agents[1])
                return strong if strong is not None and strong.succeeded else None
            case "vote":
                if any(_answer_of(life, agent) is None for agent in way.agents):
                    return None
                best, count = _votes(life, way)
                if count < 2 and way.escalate_to is not None:
                    last = _answer_of(life, way.escalate_to)
                    return last if last is not None and last.succeeded else None
                return best
        own = _answer_of(life, way.agents[0])
        return own if own is not None and own.succeeded else None

    def _on_task_failed(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        name, reason = task.spec.name, data["reason"]
        if task.state == "waiting":
            rejected = self._was_rejected(name)
            missing = [one for one in task.spec.refers if self._state_of(one) != "done"]
            due = task.spec.deadline_s is not None and reason.startswith("Its deadline of")
            ok = rejected or due or (reason.startswith("An input cannot be filled") and missing)
            self._expect(bool(ok), f"{name} fails before it began: {reason!r}")
        else:
            self._expect(task.state == "running", f"{name} fails, and is {task.state}")
            life = self._life(task)
            if not life.is_told_apart:
                attempt = self._only_attempt(task)
                self._settle(attempt, data)
                does = attempt.call.act.does if attempt.call is not None and attempt.call.act is not None else None
                bad = attempt.is_cut_off or does not in ("answer",) or self._stops_soon(reason)
                self._expect(bad, f"{name} fails ({reason!r}), and its agent had answered")
            self._expect(not _has_open(life), f"{name} fails, and attempts are open")
            if not self._is_at_its_end(item, reason):
                self._expect_came_to_nothing(task, life, reason=reason)
        was_rejected = task.state == "waiting"
        task.state = "failed"
        if task.spec.on_failure == "fail":
            self.must_fail = name
        waits = [one for one in self.tasks.values() if name in one.after]
        wanted = not waits or any(one.state != "skipped" for one in waits)
        risky = task.spec.risk == "high"
        acts = [one.call.act for one in (task.life.attempts if task.life is not None else ()) if one.call is not None]
        # A service that is overloaded, and work that takes too long, another plan does not mend.
        in_vain = bool(acts) and all(act is None or act.does == "again" for act in acts)
        wanted = wanted and not in_vain
        if name in self.world.replans and not was_rejected and wanted and not risky and not self._may_stop(item):
            self.owed_replanning.add(name)

    def _stops_soon(self, reason: str) -> bool:
        return "when the run was stopped" in reason

    def _is_at_its_end(self, item: Item, reason: str) -> bool:
        """Whether the run stops, so that nothing else is tried: only how it ends can tell."""
        must_end = self.is_stopping or self.must_fail is not None
        return must_end or self._stops_soon(reason) or self._may_stop(item)

    def _expect_came_to_nothing(
        self, task: _TaskState, life: _Life, *, reason: str = "", but_fallbacks: bool = False
    ) -> None:
        """All that the rules would have tried was tried."""
        name, way, world = task.spec.name, task.spec.way, self.world
        self._expect(self._chosen(task, life, way) is None, f"{name} has an answer, and comes to nothing")
        asked = {one.agent for one in life.attempts}
        wanted = set(way.agents[:1] if way.kind != "vote" else way.agents)
        if way.kind == "cascade":
            wanted.add(way.agents[1])
        self._expect(wanted <= asked, f"{name} comes to nothing, and {wanted - asked} were not asked")
        if task.spec.risk == "high":
            return
        is_paid = self._has_plenty
        for agent in asked:
            tries = [one for one in life.attempts if one.agent == agent]
            does = tries[-1].call.act.does if tries[-1].call is not None and tries[-1].call.act is not None else None
            if does == "again" and not tries[-1].is_cut_off and world.hedge_after_s is None and is_paid:
                enough = len(tries) >= world.max_attempts
                self._expect(enough, f"{agent} tried {name} {len(tries)} times, and its failure may pass")
        if but_fallbacks or not is_paid or task.spec.deadline_s is not None or task.spec.approval:
            return
        fallbacks = {one.agent for one in life.attempts if one.step == "fallback"}
        # Who was tried often enough may be known to fail, by what votes and checks said as well: not followed here.
        known = {one for one, count in self.tried.items() if count >= 10}
        others = [one for one in self.agents if one not in asked | known and self.failures.get(one, 0) < 5]
        ok = len(fallbacks) >= world.max_fallbacks or not others
        self._expect(ok, f"{name} fails, and {others} were not tried ({reason!r})")

    def _on_task_cancelled(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        self._expect(task.state == "running", f"{item.task} is cancelled, and was {task.state}")
        life = self._life(task)
        if not life.is_told_apart and life.attempts[0].is_open:
            self._settle(life.attempts[0], data)
        self._expect(not _has_open(life), f"{item.task} is cancelled, and attempts are open")
        self._expect_stop(item)
        task.state = "cancelled"

    def _on_task_skipped(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        name, reason = task.spec.name, data["reason"]
        self._expect(task.state == "waiting", f"{name} is skipped, and was {task.state}")
        if data.get("by_stop"):
            self._expect_stop(item)
        elif self._falls(task):
            pass
        elif reason.startswith("The budget does not reach"):
            self._expect(self.cap is not None, f"{name} is skipped for money, and there is no limit")
            assert self.cap is not None
            running = [one.spec.name for one in self.tasks.values() if one.life and _has_open(one.life)]
            self._expect(not running, f"{name} is skipped for money, while {running} may free some")
            if task.spec.way.kind == "single" and self.is_first:  # later versions expect anew, and do not say what
                told = self.told.get(task.spec.way.agents[0], [0.0])
                cost = max(self.estimates.get(name, 0.0), sum(told) / len(told))
                short = self.spent + cost > self.cap - CENT
                self._expect(short, f"{name} is skipped, and its ${cost:.4f} are there: {reason}")
        else:
            raise Violation(f"{name} is skipped for no reason of the rules: {reason!r}")
        task.state = "skipped"

    def _on_task_interrupted(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        self._expect(task.state == "running", f"{item.task} was interrupted, and was {task.state}")
        life = self._life(task)
        cost = sum(one.reserved for one in _all_calls(life) if one.is_open)
        said = data.get("cost_usd", 0.0)
        self._expect(abs(cost - said) < CENT, f"what was set aside for {item.task} is ${cost:.6f}, charged ${said:.6f}")
        self.spent += said
        for one in _all_calls(life):
            one.is_open = False
        task.state, task.life = "waiting", None

    def _on_task_asked(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        name, about = task.spec.name, data["about"]
        if about == "agent":
            self._expect(task.state == "running", f"the agent of {name} asks, and the task is {task.state}")
            life = self._life(task)
            if not life.is_told_apart:
                self._settle(self._only_attempt(task), data)
            self._expect(not _has_open(life), f"{name} asks, and attempts are open")
            asks = [one for one in life.attempts if one.call and one.call.act and one.call.act.does == "ask"]
            askers = {one.agent for one in asks}
            self._expect(data.get("asker") in askers, f"{data.get('asker')} asks at {name}; {sorted(askers)} did")
            task.life, task.begun_at_risk = None, False
        else:
            self._expect(task.state == "waiting", f"{name} asks for approval, and is {task.state}")
            if about == "start":
                self._expect(task.spec.approval, f"{name} asks for approval, and needs none")
                self._expect_inputs(task)
            else:
                at_risk = task.spec.risk == "high" and task.begun_at_risk
                voided = self._was_approved(name, "rerun", of_any=True) and not self._was_approved(name, "rerun")
                self._expect(at_risk or voided, f"{name} asks whether it may run again, and need not")
        task.state = "asking"
        self.questions[data["question_id"]] = _Question(
            task=name, about=about, kind=data["kind"], asker=data.get("asker"), given=self._given_to(task)
        )

    def _on_question_answered(self, item: Item, data: Mapping[str, Any], task: _TaskState) -> None:
        question = self.questions.get(data["question_id"])
        self._expect(question is not None and question.is_open, "a question is answered that nobody asked")
        assert question is not None
        self._expect(task.state == "asking", f"{item.task} is answered, and is {task.state}")
        question.is_open, question.answer = False, data["answer"]
        if question.about == "rerun" and question.answer is True:
            task.begun_at_risk = False
        task.state = "waiting"

    # Calls of agents

    def _begin(self, item: Item) -> None:
        assert item.task is not None
        assert item.agent is not None
        if item.session in self.dead or item.session != self.owner:
            return  # what a dead engine's agents still do is in nobody's hands
        call = self.calls[item.call] = _Call(agent=item.agent, session=item.session, does=item.data["does"])
        task, judges = self.tasks.get(item.task), item.data["judges"]
        if task is None or task.life is None:
            raise Violation(f"{item.agent} is called for {item.task}, which is {self._state_of(item.task)}")
        place = [
            one
            for one in ([one.check for one in task.life.attempts if one.check] if judges else task.life.attempts)
            if one.agent == item.agent and one.call is None and one.is_open and one.session == item.session
        ]
        self._expect(bool(place), f"{item.agent} is called for {item.task}, and the ledger tells of no attempt")
        place[0].call, call.attempt = call, place[0]
        busy = sum(
            1
            for other in self.tasks.values()
            if other.life is not None
            for one in _all_calls(other.life)
            if one.is_open and one.agent == item.agent and one.session == item.session
        )
        places = self.agents[item.agent].places
        self._expect(busy <= places, f"{item.agent} has {busy} attempts under way, and {places} places")
        self._expect_inputs(task)
        if not judges:
            self._expect_context(item, task)

    def _expect_context(self, item: Item, task: _TaskState) -> None:
        name, seen = task.spec.name, item.data
        upstream = self._given_to(task)
        self._expect(seen["upstream"] == upstream, f"{name} is given {seen['upstream']!r}; there is {upstream!r}")
        missing = sorted(one for one in task.after if one not in upstream)
        self._expect(seen["missing"] == missing, f"{name} is told that {seen['missing']} is missing: {missing} is")
        answers = [
            one.answer
            for one in self.questions.values()
            if one.task == name and one.asker == item.agent and one.given == upstream and not one.is_open
        ]
        self._expect(seen["answers"] == answers, f"{name} is told the answers {seen['answers']}; they are {answers}")
        inputs = {f"from_{one}": upstream.get(one) for one in task.spec.refers}
        self._expect(seen["inputs"] == inputs, f"{name} has the inputs {seen['inputs']!r}, not {inputs!r}")
        whole = f"{RUN_ID}/{name}"
        way = task.spec.way
        is_fallback = item.agent not in way.agents and item.agent != way.escalate_to
        key = whole if way.kind == "single" or is_fallback else f"{whole}/{item.agent}"
        self._expect(seen["key"] == key, f"{name} has the idempotency key {seen['key']}, not {key}")

    # The rules

    def _falls(self, task: _TaskState) -> bool:
        """Whether a task can never begin, because of what it depends on."""
        states = {name: self._settled(name) for name in task.after}
        if task.spec.needs == "some" and len(task.after) > 1:
            return all(state == "nothing" for state in states.values())
        return any(state == "nothing" and not self._is_optional(name) for name, state in states.items())

    def _settled(self, name: str) -> str:
        """Return `done`, `nothing`, or `open` where something may still come of a task."""
        state = self._state_of(name)
        if state == "done":
            return "done"
        if state in ("failed", "skipped", "cancelled") and name not in self.replanning:
            return "nothing"
        return "open"

    def _is_optional(self, name: str) -> bool:
        task = self.tasks.get(name) or self.gone.get(name)
        return task is not None and task.spec.on_failure == "continue"

    def _expect_inputs(self, task: _TaskState) -> None:
        """All that a task depends on is settled, and enough of it is done."""
        for name in task.after:
            settled = self._settled(name)
            self._expect(settled != "open", f"{task.spec.name} begins before {name}, which is {self._state_of(name)}")
        self._expect(not self._falls(task), f"{task.spec.name} begins, and what it needs came to nothing")

    def _expect_nothing_left(self) -> None:
        """No task could begin."""
        for task in self.tasks.values():
            self._expect(task.state != "running", f"{task.spec.name} runs, and the run ends")
            if task.state == "waiting":
                open_ones = [name for name in task.after if self._settled(name) == "open"]
                self._expect(bool(open_ones), f"{task.spec.name} could begin, or falls, and was forgotten")

    def _stops(self, item: Item) -> bool:
        return self._may_stop(item) or self.must_fail is not None

    def _expect_stop(self, item: Item) -> None:
        """The run is being stopped, which is told only when it has ended: here it is believed where it may be so."""
        ok = self._may_stop(item) or self.must_fail is not None
        self._expect(ok, f"{item.task} is given up, and nothing stops the run: {item.data['data'].get('reason')!r}")
        self.is_stopping = True

    def _over(self, item: Item) -> None:
        self.ended.add(item.session)
        raised = item.data.get("raised")
        if raised is None:
            state = item.data["state"]
            self._expect(item.session != self.owner or state == self.state, f"it is {self.state}, returned as {state}")
            cost = item.data["cost_usd"]
            same = item.session != self.owner or abs(cost - self.spent) < CENT
            self._expect(same, f"it returned a cost of ${cost:.6f}; the charges are ${self.spent:.6f}")
            return
        text = item.data["text"]
        sessions = self.world.sessions
        trouble = sessions[item.session] if 0 <= item.session < len(sessions) else None
        match raised:
            case "RunBusy":
                last = {n: at for n, at in self.died_at.items() if n < len(sessions) and sessions[n].is_far}
                far = any(item.at < at + LEASE_S for at in last.values())
                ok = far or (self.owner not in self.dead and self.owner not in self.ended)
            case "LedgerBusy":
                ok = trouble is not None and trouble.busy_events[1] > 0
            case "LeaseLost":
                silent = trouble is not None and (trouble.overtaken_at_s is not None or trouble.deaf_s[1] >= 10)
                ok = silent or item.session != self.owner
            case "CancelledError":
                ok = trouble is not None and trouble.cancel_at_s is not None
            case "PlanRejected":
                ok = not self.was_approved
            case "InvalidInput":
                self.was_lost = "before its plan was written down" in text
                ok = self.was_lost or any(part in text for part in ("is done", "has cost", "s that it was given"))
            case _:
                ok = False
        self._expect(ok, f"the engine raised {raised}: {text}")

    # Money

    @property
    def _set_aside(self) -> float:
        attempts = (one for task in self.tasks.values() if task.life is not None for one in _all_calls(task.life))
        return sum(one.reserved for one in attempts if one.is_open) + sum(self.planning.values())

    def _expect_may_be_asked(self, agent: str) -> None:
        """Nobody calls who asked to be left alone, and nothing that may cost anything starts when all is spent."""
        rest_s = self.rests.get(agent, 0.0) - self.now
        self._expect(rest_s <= CENT, f"{agent} is asked, and wants to be left alone for another {rest_s:g} s")
        self._expect(not self._is_tried(agent), f"{agent} is asked by two at once, just after it was left alone")
        if self.cap is None:
            return
        self._expect(not 0 < self.cap <= self.spent - CENT, f"{agent} is asked, and all of ${self.cap:g} is spent")
        if self.agents[agent].price_usd is None and self.is_first and self.owner == min(self.began):
            at_once = self.agents[agent].places - self._free_places(agent)
            most = 1 + self.answered.get(agent, 0)
            self._expect(at_once < most, f"{agent}, whose price nobody knows, is asked {at_once + 1} times at once")
            untried = [
                one.agent
                for task in self.tasks.values()
                for one in (_all_calls(task.life) if task.life is not None else ())
                if one.is_open and self.agents[one.agent].price_usd is None and not self.answered.get(one.agent)
            ]
            both = bool(untried) and not self.answered.get(agent)
            self._expect(not both, f"{agent} is tried while {untried} are, and nobody knows what any of them costs")

    def _is_tried(self, agent: str) -> bool:
        """Whether one attempt asks an agent that was left alone, and no other may yet."""
        first = self.first.get(agent)
        return first is not None and first.is_open and self.now < first.at + FIRST_S - CENT

    def _may_be_first(self, attempt: _Attempt) -> None:
        if self.first.get(attempt.agent, attempt) is None:
            self.first[attempt.agent] = attempt

    def _pay(self, usd: float) -> None:
        self.most_set_aside = max(self.most_set_aside, usd)
        if self.cap is not None and usd > 0:
            left = self.cap - self.spent - self._set_aside
            self._expect(usd <= left + CENT, f"${usd:.6f} are set aside, and ${left:.6f} are left")

    def _settle(self, attempt: _Attempt, data: Mapping[str, Any]) -> None:
        """An attempt is over: it is charged once, and what it cost."""
        self._expect(attempt.is_open, f"an attempt of {attempt.agent} is settled twice")
        attempt.is_open = False
        said = data.get("cost_usd", 0.0)
        self._expect(0 <= said < 1e9, f"an attempt is charged ${said!r}")
        act, price = None if attempt.call is None else attempt.call.act, self.agents[attempt.agent].price_usd
        attempt.is_cut_off = act is None or (abs(said - attempt.reserved) < CENT and bool(data.get("cost_assumed")))
        if act is None:
            right: float | None = attempt.reserved
        elif act.does == "odd":
            right = None
        elif act.does in ("answer", "fail", "ask", "grow", "again") and act.cost_usd is not None:
            right = act.cost_usd
        else:
            right = price
        given_up = data.get("reason", "").startswith(("It took longer", "The other", "Another"))
        late = given_up or self.is_stopping or self._stops_at(self.owner) or self.must_fail is not None
        fits = right is None or abs(said - right) < CENT or (late and abs(said - attempt.reserved) < CENT)
        if right is None and act is not None and act.does != "odd":
            fits = bool(data.get("cost_assumed")) or said == 0
        self._expect(fits, f"{attempt.agent} is charged ${said:.6f}, and not ${right}")
        self.settled.add(attempt.agent)
        self.tried[attempt.agent] = self.tried.get(attempt.agent, 0) + 1
        if self.first.get(attempt.agent) is attempt:
            del self.first[attempt.agent]
        if act is not None and act.rest_s and "overloaded" in f"{data.get('reason')} {data.get('note')}":
            self.rests[attempt.agent] = max(self.rests.get(attempt.agent, 0.0), self.now + act.rest_s)
            self.first[attempt.agent] = None
        if act is not None and act.cost_usd is not None and act.does in ("answer", "fail", "ask", "grow", "again"):
            self.told.setdefault(attempt.agent, []).append(act.cost_usd)
        if act is not None and act.does in ("answer", "grow") and "reason" not in data:
            self.answered[attempt.agent] = self.answered.get(attempt.agent, 0) + 1
        self.spent += said
        self.excess += max(0.0, said - attempt.reserved)

    # Small things

    def _take_answer(self, task: _TaskState, attempt: _Attempt, output: Any) -> None:
        act = None if attempt.call is None else attempt.call.act
        name = task.spec.name
        if act is not None and act.does == "grow" and output is None:
            return  # that it grows is told by an event of its own
        ok = act is not None and act.does in ("answer", "odd")
        self._expect(ok, f"{name} has an answer of {attempt.agent}, who gave none")
        assert act is not None
        if act.does != "odd":
            same = output == act.value and type(output) is type(act.value)
            self._expect(same, f"{attempt.agent} answered {act.value!r} to {name}; told is {output!r}")
        attempt.succeeded, attempt.value = True, output

    def _only_attempt(self, task: _TaskState) -> _Attempt:
        life = self._life(task)
        self._expect(len(life.attempts) == 1, f"{task.spec.name} has {len(life.attempts)} attempts, told as one")
        return life.attempts[0]

    def _life(self, task: _TaskState) -> _Life:
        if task.life is None:
            raise Violation(f"{task.spec.name} goes on, and has not begun")
        return task.life

    def _task(self, name: str) -> _TaskState:
        if name not in self.tasks:
            raise Violation(f"an event is about {name}, which is no task" + (" any more" if name in self.gone else ""))
        return self.tasks[name]

    def _state_of(self, name: str) -> str:
        return self.tasks[name].state if name in self.tasks else "gone"

    def _output_of(self, name: str) -> Any:
        return self.tasks[name].output

    def _given_to(self, task: _TaskState) -> dict[str, Any]:
        return {one: self._output_of(one) for one in task.after if self._state_of(one) == "done"}

    def _was_approved(self, name: str, *abouts: str, of_any: bool = False) -> bool:
        """Whether a person approved it as it is given now; or of any inputs."""
        given = self._given_to(self.tasks[name])
        return any(
            one.task == name and one.about in abouts and one.answer is True and (of_any or one.given == given)
            for one in self.questions.values()
        )

    def _was_rejected(self, name: str) -> bool:
        last = [one for one in self.questions.values() if one.task == name and not one.is_open]
        return bool(last) and last[-1].kind == "approval" and last[-1].answer is not True

    # Time

    def _time_passes(self, until: float) -> None:
        """Nothing else happens before `until`: what could have happened has, and what must end has ended."""
        is_at_work = self.owner >= 0 and self.owner not in self.dead and self.owner not in self.ended
        if is_at_work and self.state == "running":
            owed = sorted(self.owed_replanning)
            self._expect(not owed or not self._has_plenty or self.is_stopping, f"{owed} are not planned anew")
            self.owed_replanning.clear()
        for number, call in self.calls.items():
            attempt = call.attempt
            ended = call.session in self.ended or (
                call.session == self.owner and attempt is not None and not attempt.is_open
            )
            if ended and not call.is_over and call.does != "stubborn" and call.session not in self.dead:
                raise Violation(f"call {number} of {call.agent} goes on, and nobody waits for it")
        if is_at_work and self.state == "running":
            self._expect_work_goes_on(until)
        self.now = until

    def _expect_work_goes_on(self, until: float) -> None:
        trouble = self.world.sessions[self.owner] if self.owner < len(self.world.sessions) else None
        start, deadline = self.began[self.owner], self.deadlines[self.owner]
        if deadline is not None:
            self._expect(until <= start + deadline + SLACK_S, f"it goes on at {until:g} s, past its deadline")
        if trouble is not None and trouble.stop_at_s is not None and self.stop_was_posted:
            self._expect(until <= start + trouble.stop_at_s + SLACK_S, f"it goes on at {until:g} s, and was to stop")
        limit_s = self.world.task_timeout_s
        for task in self.tasks.values():
            for one in _all_calls(task.life) if task.life is not None else ():
                if one.is_open and one.session == self.owner and limit_s is not None:
                    self._expect(until <= one.at + limit_s + 2.0, f"an attempt at {task.spec.name} has no end")
                due_s = task.spec.deadline_s
                if one.is_open and due_s is not None and self.is_first and self.owner == min(self.began):
                    self._expect(
                        until <= max(start + due_s, one.at) + 2.0, f"{task.spec.name} goes on past its deadline"
                    )
            if self._is_blocked or self.is_stopping or self._stops_at(self.owner) or self.must_fail is not None:
                continue
            if self._could_begin(task) and self._free_places(task.spec.way.agents[0]) > 0:
                raise Violation(f"{task.spec.name} could have begun at {self.now:g} s")
            self._expect_rival(task, until)

    def _expect_rival(self, task: _TaskState, until: float) -> None:
        after_s, life = self.world.hedge_after_s, task.life
        if after_s is None or life is None or len(life.attempts) != 1 or task.spec.way.kind != "single":
            return
        one = life.attempts[0]
        if not one.is_open or task.spec.risk == "high" or self._may_be_too_dear(one.agent):
            return
        if self.rests.get(one.agent, 0.0) > self.now - CENT or self._is_tried(one.agent):
            return
        if self._free_places(one.agent) <= 0 or self._stops_at(self.owner, one.at + after_s):
            return
        self._expect(until <= one.at + after_s + CENT, f"{task.spec.name} is late, and has no rival")

    @property
    def _is_blocked(self) -> bool:
        """Whether the engine may be busy with approving a change, and starts nothing meanwhile."""
        world = self.world
        return world.approval_s > 0 and bool(world.grows or world.replans or world.reflects)

    def _could_begin(self, task: _TaskState) -> bool:
        if task.state != "waiting" or any(self._settled(one) == "open" for one in task.after):
            return False
        agent = task.spec.way.agents[0]
        if self._may_be_too_dear(agent) or self.rests.get(agent, 0.0) > self.now - CENT or self._is_tried(agent):
            return False
        is_free = not task.spec.approval or self._was_approved(task.spec.name, "start", "rerun")
        at_risk = task.spec.risk == "high" and task.begun_at_risk
        return is_free and not at_risk and not self._falls(task)

    def _may_be_too_dear(self, agent: str) -> bool:
        """Whether an agent may have to wait for money: what is set aside once it is learned nobody tells in advance."""
        if self.cap is None:
            return False
        return not (self._has_plenty and self.is_first and self.agents[agent].price_usd and agent not in self.settled)

    def _free_places(self, agent: str) -> int:
        lives = [task.life for task in self.tasks.values() if task.life is not None]
        busy = sum(
            1
            for life in lives
            for one in _all_calls(life)
            if one.is_open and one.agent == agent and one.session == self.owner
        )
        return self.agents[agent].places - busy

    def _expect_urgent(self, task: _TaskState) -> None:
        """No task of the same agent that is more urgent could begin as well: what it waits for is as urgent."""
        agent = task.spec.way.agents[0]
        for other in self.tasks.values():
            same = other is not task and other.spec.way.kind == "single" and other.spec.way.agents[0] == agent
            if same and task.spec.way.kind == "single" and self._could_begin(other):
                mine, others = self._urgency(task), self._urgency(other)
                self._expect(others <= mine, f"{task.spec.name} begins before {other.spec.name}, which is more urgent")

    def _urgency(self, task: _TaskState) -> int:
        waits = [one for one in self.tasks.values() if task.spec.name in one.after]
        return max([task.spec.priority, *(self._urgency(one) for one in waits)])

    def _expect_set_aside(self, agent: str, usd: float) -> None:
        price = self.agents[agent].price_usd
        if agent not in self.settled and self.is_first:
            enough = usd >= price - CENT if price is not None else usd > 0
            self._expect(enough, f"${usd:.6f} are set aside for {agent}, whose price is {price}")

    def _is_refused(self, task: _TaskState, agent: str, usd: float) -> bool:
        """Whether an attempt is only told of because it cannot be paid, or its task's deadline has passed."""
        return usd == 0 and (task.spec.deadline_s is not None or (self.cap is not None and not self._has_plenty))

    @property
    def _has_plenty(self) -> bool:
        """Whether money is no reason for anything."""
        # What is set aside for an agent of which little is known is many times what it costs.
        return self.cap is None or self.cap - self.spent - self._set_aside > 4.0 + 3 * self.most_set_aside

    def _may_stop(self, item: Item) -> bool:
        """Whether something may be stopping this session by now."""
        return self._stops_at(item.session)

    def _stops_at(self, session: int, at: float | None = None) -> bool:
        """Whether something may be stopping a session by now, or by some time."""
        trouble = self.world.sessions[session] if 0 <= session < len(self.world.sessions) else None
        times = [self.deadlines.get(session)]
        if trouble is not None:
            times += [trouble.stop_at_s, trouble.cancel_at_s]
        passed = (self.now if at is None else at) - self.began.get(session, 0.0)
        return any(one is not None and passed >= one - CENT for one in times)

    @property
    def stop_was_posted(self) -> bool:
        return self.owner < len(self.world.sessions) and self.state == "running" and not self._is_deaf

    @property
    def _is_deaf(self) -> bool:
        return self.world.sessions[self.owner].deaf_s[1] > 0

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            raise Violation(problem)


def _answer_of(life: _Life, agent: str) -> _Attempt | None:
    """Return an agent's last word: its good answer, or its last failure once nothing more is tried."""
    tries = [one for one in life.attempts if one.agent == agent and one.step != "fallback"]
    good = [one for one in tries if one.succeeded]
    if good:
        return good[-1]
    return tries[-1] if tries and not any(one.is_open for one in tries) else None


def _votes(life: _Life, way: Way) -> tuple[_Attempt | None, int]:
    """Return the first of those with the most frequent answer, and how many gave it."""
    given = [one for agent in way.agents if (one := _answer_of(life, agent)) is not None and one.succeeded]
    best, most = None, 0
    for one in given:
        count = sum(1 for other in given if other.value == one.value)
        if count > most:
            best, most = one, count
    return best, most


def _has_open(life: _Life) -> bool:
    return any(one.is_open for one in _all_calls(life))


def _all_calls(life: _Life) -> list[_Attempt]:
    """Return the attempts, and the calls of judges."""
    return [one for attempt in life.attempts for one in (attempt, attempt.check) if one is not None]
