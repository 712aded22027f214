"""Plants faults in recorded gold plans, and measures which ones the validator finds, without a model.

    python -m bench.faults [--data FILE ...] [--seed N] [--split dev|test] [--json]

Files are gzip-compressed JSON lines of plans (`request`, `steps`, `edges`, perhaps `tools`; APIs in a file
NAME-apis.json beside it), by default all of them in the folder of recorded data (bench/recorded.py). Their shape is
found from the rows.

What is counted:
    alarm         an issue of severity `error`; warnings are counted beside, and are no alarm
    false alarms  share of untouched plans with an alarm, each under a budget that holds
    note          a warning that the request names something that no task has, or asks what no task decides; the plan
                  runs with it
    recall        share of planted faults that raise an alarm which the same plan did not raise untouched; of dropped
                  steps and numbers, an alarm or a note
    right notes   of all notes, in plans with a dropped step or a lost number and in untouched ones, the share that only
                  the fault raises
    repaired      share of the faults with an alarm after whose repair the validator approves the plan
    restored      the same where the tasks are then those of the gold plan, word for word

Half of the rows, by a hash of their id, are `dev`: thresholds were set on these. The others are `test`.
A fault is planted in every row that has a place for it, at a random one, by a generator with a seed. The validator gets
the tasks in the order of the file, and knows nothing else of the gold plan. Planted are:

    dropped_step        a step goes; what waited for it waits for what it waited for; texts that use its result stay
    duplicate           a step stands twice, half of the time in slightly other words
    dangling_reference  a reference, or an edge where there are none, names a step that is not there
    reversed_edge       an edge stands the other way round; texts stay
    wrong_tool          a call names a tool that is not offered, or another one that is (rows with tools only)
    number              a number of the request goes from all steps that have it, or becomes another
    budget              a budget below what the plan is expected to cost

A dropped step leaves a trace if another step uses its result, if it held the only mention of a number or a quoted or
capitalised name of the request, or if it was the last step of a question. The others cannot be missed by anyone who
does not know the gold plan; both figures are printed.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import gzip
import hashlib
import json
import math
import random
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.recorded import BadData, data_folder
from kapelle.agents import AgentCapability, AgentRegistry
from kapelle.errors import InvalidGraph
from kapelle.graph import Task, TaskDAG, escape_braces
from kapelle.models import ToolDefinition
from kapelle.routing import HALORouter
from kapelle.validation import AOPValidator, Issue, repair_draft, validate_draft
from kapelle.validation.schemas import tool_words

NO_TOOL = "do"
"""The kind of work of a step whose tool the file does not say."""
AGENTS = AgentRegistry(
    [
        AgentCapability(agent_id="small", task_types=("*", NO_TOOL), cost_usd=0.001, seconds=4.0, success_rate=0.80),
        AgentCapability(agent_id="middle", task_types=("*", NO_TOOL), cost_usd=0.01, seconds=6.0, success_rate=0.88),
        AgentCapability(agent_id="large", task_types=("*", NO_TOOL), cost_usd=0.05, seconds=9.0, success_rate=0.95),
    ]
)
STRUCTURAL = ("duplicate", "dangling_reference", "reversed_edge", "wrong_tool", "budget")
COVERAGE = ("dropped_step", "number")
COUNTS = ("plans", "alarms", "warned", "wrong_notes", "right_notes")
CLEARLY = 1.25
"""How much liker than the next a tool must be to a step to count as its tool."""
ROOM = 1.2
"""Budget of an untouched plan, as a multiple of what it is expected to cost."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recorded plan, untouched or with a fault."""

    row_id: str
    request: str
    tasks: tuple[Task, ...]
    tools: Mapping[str, ToolDefinition] = field(default_factory=dict)
    budget: float | None = None
    note: str = ""
    """Of a planted fault: the variety."""


# -- reading --------------------------------------------------------------------------------------------------------


def read_plans(path: Path) -> list[Plan]:
    """Return the plans of a file.

    Raises:
        BadData: it is missing, unreadable, or no row of it is a plan.
    """
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            rows = [(number, line) for number, line in enumerate(file, start=1) if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: cannot be read: {error}") from error
    apis = _read_apis(path)
    plans = [_read_plan(line, apis, place=f"{path}:{number}") for number, line in rows]
    found = [plan for plan in plans if plan is not None]
    if not found:
        raise BadData(f"{path}: has no plans")
    if len(found) < len(plans):
        print(f"{path}: {len(plans) - len(found)} rows make no graph and are left out", file=sys.stderr)
    return found


def _read_apis(path: Path) -> dict[str, ToolDefinition]:
    name = path.name.partition(".")[0]
    beside = path.with_name(f"{name}-apis.json")
    if not beside.exists():
        return {}
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
        return {one["name"]: _api_tool(one) for one in values}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(f"{beside}: is no list of APIs: {error!r}") from error


def _api_tool(api: Mapping[str, Any]) -> ToolDefinition:
    groups = [api.get(f"{kind}_parameters") or {} for kind in ("query", "path", "body")]
    parameters = {name: spec for group in groups for name, spec in group.items()}
    return ToolDefinition(
        name=api["name"],
        description=api.get("description", ""),
        parameters={
            "type": "object",
            "properties": {
                name: {"description": str(spec.get("description", ""))} for name, spec in parameters.items()
            },
            "required": [name for name, spec in parameters.items() if spec.get("required") is True],
        },
        outputs={key: {} for key in _output_names(api.get("output_parameters") or {})},
    )


def _output_names(outputs: Mapping[str, Any]) -> Iterator[str]:
    for name, spec in outputs.items():
        yield name
        inner = spec.get("properties") if isinstance(spec, Mapping) else None
        if isinstance(inner, Mapping):
            yield from _output_names(inner)


def _read_plan(line: str, apis: Mapping[str, ToolDefinition], *, place: str) -> Plan | None:
    try:
        row = json.loads(line)
        steps, edges = row["steps"], [tuple(edge) for edge in row["edges"]]
        waits: dict[str, list[str]] = defaultdict(list)
        for before, after in edges:
            waits[after].append(before)
        if "name" in steps[0]:
            tasks = _call_tasks(steps, waits)
            tools = dict(apis)
        else:
            tools = _row_tools(row.get("tools"))
            tasks = _text_tasks(steps, waits, tools)
        try:
            TaskDAG(tasks)
        except InvalidGraph:
            return None  # no gold plan: there is nothing to plant a fault in
        return Plan(row_id=str(row.get("id", place)), request=str(row["request"]), tasks=tasks, tools=tools)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, SyntaxError, InvalidGraph) as error:
        raise BadData(f"{place}: is no plan with request, steps and edges: {error!r}") from error


def _call_tasks(steps: Sequence[Mapping[str, Any]], waits: Mapping[str, Sequence[str]]) -> tuple[Task, ...]:
    labels = {step["label"]: step["id"] for step in steps}

    def convert(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\$(\w+?)((?:\.[^$]*)?)\$", reference, escape_braces(value))
        if isinstance(value, Mapping):
            return {key: convert(item) for key, item in value.items()}
        return [convert(item) for item in value] if isinstance(value, list) else value

    def reference(match: re.Match[str]) -> str:
        if match[1] not in labels:
            return match[0]
        path = "".join(
            step if step.startswith("[") else f".{re.sub(r'[^A-Za-z0-9_]', '_', step)}"
            for step in re.findall(r"\[\d+\]|[^.\[\]]+", match[2])
        )
        return f"{{{labels[match[1]]}{path}}}"

    return tuple(
        Task(
            task_id=step["id"],
            task_type=step["name"],
            depends_on=tuple(waits.get(step["id"], ())),
            inputs=convert(step["arguments"]),
        )
        for step in steps
    )


def _row_tools(value: Any) -> dict[str, ToolDefinition]:
    if not value:
        return {}
    tools = ast.literal_eval(value) if isinstance(value, str) else value
    return {
        tool["api_name"]: ToolDefinition(
            name=tool["api_name"],
            description=tool.get("api_description", ""),
            parameters={"properties": tool.get("parameters", {}), "required": tool.get("required", [])},
            outputs={key: {} for key in tool.get("responses", {})},
        )
        for tool in tools
    }


def _text_tasks(
    steps: Sequence[Mapping[str, Any]], waits: Mapping[str, Sequence[str]], tools: Mapping[str, ToolDefinition]
) -> tuple[Task, ...]:
    ids = [step["id"] for step in steps]
    refers = any(re.search(r"#\d", step["text"]) for step in steps)
    kinds = (
        assign_tools([step["text"] for step in steps], tools) if tools else ["answer" if refers else NO_TOOL] * len(ids)
    )
    tasks = []
    for step, kind in zip(steps, kinds, strict=True):
        text = escape_braces(step["text"])
        text = re.sub(
            r"#(\d+)", lambda match: "{" + ids[int(match[1]) - 1] + "}" if match[1] != "0" else match[0], text
        )
        tasks.append(
            Task(
                task_id=step["id"],
                task_type=kind,
                description="" if refers else step["text"],
                depends_on=tuple(waits.get(step["id"], ())),
                inputs={"query": text} if refers else {},
            )
        )
    return tuple(tasks)


def assign_tools(texts: Sequence[str], tools: Mapping[str, ToolDefinition]) -> list[str]:
    """Return each step's tool, which these rows do not say, by common letters; NO_TOOL where that is unclear."""
    names = sorted(tools)
    like = [[_trigram_likeness(text, tool_words(tools[name])) for name in names] for text in texts]
    chosen = []
    for scores in like:
        best, second = sorted(range(len(names)), key=lambda at: -scores[at])[:2] if len(names) > 1 else (0, 0)
        is_clear = best == second or scores[best] >= CLEARLY * scores[second]
        chosen.append(names[best] if is_clear else NO_TOOL)
    return chosen


def _trigram_likeness(one: str, other: str) -> float:
    mine, theirs = (
        {
            text[at : at + 4]
            for text in [f" {' '.join(re.findall('[a-z0-9]+', words.lower()))} "]
            for at in range(len(text) - 3)
        }
        for words in (one, other)
    )
    return len(mine & theirs) / max(1.0, math.sqrt(len(mine) * len(theirs)))


# -- planting -------------------------------------------------------------------------------------------------------


def drop_step(plan: Plan, rng: random.Random) -> Plan | None:
    """A step goes."""
    if len(plan.tasks) < 2:
        return None
    lost = rng.choice(plan.tasks)
    kept = []
    for task in plan.tasks:
        if task is not lost:
            bridged = [
                other
                for before in task.depends_on
                for other in (lost.depends_on if before == lost.task_id else (before,))
            ]
            bridged = [other for other in bridged if other != task.task_id]
            kept.append(replace(task, depends_on=tuple(dict.fromkeys(bridged))))
    return replace(plan, tasks=tuple(kept), note=_trace_of(lost, plan))


def _trace_of(lost: Task, plan: Plan) -> str:
    if any(lost.task_id in task.references for task in plan.tasks):
        return "result used"
    rest = " ".join(_words(task) for task in plan.tasks if task is not lost).lower()
    marks = re.findall(r"['\"]([^'\"]{2,60})['\"]|\b(\d[\d.,]*\d|\d)\b|(?<=[a-z] )([A-Z][\w-]+)", plan.request)
    named = {mark.lower() for group in marks for mark in group if mark}
    if any(mark in _words(lost).lower() and mark not in rest for mark in named):
        return "only mention"
    awaited = {other for task in plan.tasks for other in task.dependencies}
    if lost.task_id not in awaited and len(plan.tasks) - len(awaited) == 1 and plan.request.rstrip().endswith("?"):
        return "last of a question"
    return "no trace"


def _words(task: Task) -> str:
    return f"{task.description} {json.dumps(task.inputs, ensure_ascii=False)}"


def duplicate_step(plan: Plan, rng: random.Random) -> Plan | None:
    """A step stands twice."""
    task = rng.choice(plan.tasks)
    reworded = rng.random() < 0.5

    def reword(text: str) -> str:
        return rng.choice(
            [
                text.upper() if "{" not in text else f"{text} ",
                text.rstrip(".?! "),
                f"Please {text}",
                text.replace(" the ", " "),
            ]
        )

    copy = replace(task, task_id=f"{task.task_id}b")
    if reworded and task.description:
        copy = replace(copy, description=reword(task.description))
    elif reworded and set(task.inputs) == {"query"}:
        copy = replace(
            copy, inputs={"query": rng.choice([task.inputs["query"].rstrip(".?! "), f" {task.inputs['query']}"])}
        )
    at = plan.tasks.index(task) + 1
    return replace(plan, tasks=(*plan.tasks[:at], copy, *plan.tasks[at:]), note="reworded" if reworded else "as it is")


def dangle_reference(plan: Plan, rng: random.Random) -> Plan | None:
    """A reference or an edge names a step that is not there."""
    waiting = [task for task in plan.tasks if task.dependencies]
    if not waiting:
        return None
    task = rng.choice(waiting)
    lost = rng.choice(sorted(task.references) or sorted(task.depends_on))
    new = rng.choice([f"{lost}x", "s99", f"step_{lost}", "result"])
    changed = _renamed(task, lost, new)
    return replace(plan, tasks=_swapped(plan, changed), note="reference" if task.references else "edge")


def _renamed(task: Task, old: str, new: str) -> Task:
    inputs = json.loads(re.sub(r"\{" + re.escape(old) + r"(?=[.\[}])", "{" + new, json.dumps(task.inputs)))
    return replace(task, depends_on=tuple(new if one == old else one for one in task.depends_on), inputs=inputs)


def _swapped(plan: Plan, *changed: Task) -> tuple[Task, ...]:
    by_id = {task.task_id: task for task in changed}
    return tuple(by_id.get(task.task_id, task) for task in plan.tasks)


def reverse_edge(plan: Plan, rng: random.Random) -> Plan | None:
    """An edge stands the other way round."""
    edges = [(before, task) for task in plan.tasks for before in task.depends_on]
    if not edges:
        return None
    before_id, after = rng.choice(edges)
    before = next(task for task in plan.tasks if task.task_id == before_id)
    return replace(
        plan,
        tasks=_swapped(
            plan,
            replace(after, depends_on=tuple(one for one in after.depends_on if one != before_id)),
            replace(before, depends_on=(*before.depends_on, after.task_id)),
        ),
        note="used result" if before_id in after.references else "bare edge",
    )


def name_wrong_tool(plan: Plan, rng: random.Random) -> Plan | None:
    """A call names another tool."""
    if len(plan.tools) < 2:
        return None
    calling = [task for task in plan.tasks if task.task_type in plan.tools]
    if not calling:
        return None
    task = rng.choice(calling)
    if rng.random() < 0.5:
        other = rng.choice(["doTask", f"{task.task_type}V2", "search_everything", task.task_type[:-1]])
        note = "not offered"
        if other in plan.tools:
            return None
    else:
        used = {one.task_type for one in plan.tasks}
        other = rng.choice(sorted(set(plan.tools) - used) or sorted(set(plan.tools) - {task.task_type}))
        note = "another one"
    return replace(plan, tasks=_swapped(plan, replace(task, task_type=other)), note=note)


def lose_number(plan: Plan, rng: random.Random) -> Plan | None:
    """A number of the request goes from all steps, or becomes another."""
    asked = dict.fromkeys(re.findall(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?(?![\w-]|[.,]\d)", plan.request))
    held = [number for number in asked if any(re.search(_number_pattern(number), _words(task)) for task in plan.tasks)]
    if not held:
        return None
    number = rng.choice(held)
    other = "" if rng.random() < 0.5 else str(rng.choice([one for one in range(2, 99) if str(one) not in plan.request]))

    def strip(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(_number_pattern(number), other, value)
        if isinstance(value, Mapping):
            pairs = [(key, strip(item)) for key, item in value.items()]
            return {key: item for key, item in pairs if item is not None}
        if isinstance(value, list):
            return [item for item in map(strip, value) if item is not None]
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and re.fullmatch(_number_pattern(number), str(value))
        ):
            return int(other) if other else None
        return value

    tasks = tuple(replace(task, description=strip(task.description), inputs=strip(task.inputs)) for task in plan.tasks)
    return replace(plan, tasks=tasks, note="changed" if other else "left out")


def _number_pattern(number: str) -> str:
    return r"(?<![\w.,{-])" + re.escape(number) + r"(?![\w}-]|[.,]\d)"


def cut_budget(plan: Plan, rng: random.Random) -> Plan | None:
    """A budget below what the plan is expected to cost."""
    assert plan.budget is not None
    dearest, cheapest = (choose(agent.cost_usd or 0.0 for agent in AGENTS.values()) for choose in (max, min))
    part = (cheapest / dearest) ** rng.uniform(0.01, 1.3)
    note = "cheaper agents can hold it" if part >= cheapest / dearest else "nobody can hold it"
    return replace(plan, budget=plan.budget / ROOM * part, note=note)


Planter = Callable[[Plan, random.Random], Plan | None]
FAULTS: dict[str, Planter] = {
    "dropped_step": drop_step,
    "duplicate": duplicate_step,
    "dangling_reference": dangle_reference,
    "reversed_edge": reverse_edge,
    "wrong_tool": name_wrong_tool,
    "number": lose_number,
    "budget": cut_budget,
}


# -- measuring ------------------------------------------------------------------------------------------------------


class Checker:
    """Validates and repairs plans as the engine would: draft, graph, routing, plan."""

    def __init__(self) -> None:
        self.router = HALORouter(AGENTS)
        self.loop = asyncio.new_event_loop()

    def expected_cost(self, plan: Plan) -> float:
        """Return the dollars that the plan is expected to take as it is routed."""
        dag = TaskDAG(plan.tasks)
        routing = self.loop.run_until_complete(self.router.route_tasks(dag))
        return self.loop.run_until_complete(AOPValidator(AGENTS).validate_routing_plan(routing, dag)).estimated_cost

    def find(self, plan: Plan) -> tuple[Issue, ...]:
        """Return what is found in a draft, and if it is a graph, in the routed plan."""
        issues = validate_draft(plan.tasks, request=plan.request, tools=plan.tools, agents=AGENTS, in_order=True)
        try:
            dag = TaskDAG(plan.tasks)
        except InvalidGraph:
            return issues
        routing = self.loop.run_until_complete(self.router.route_tasks(dag))
        result = self.loop.run_until_complete(
            AOPValidator(AGENTS, tools=plan.tools).validate_routing_plan(
                routing, dag, plan.budget, request=plan.request
            )
        )
        return (*issues, *result.issues)

    def repair(self, plan: Plan) -> tuple[bool, tuple[Task, ...]]:
        """Return whether the plan is approved after repair, and its tasks then."""
        draft = repair_draft(plan.tasks, request=plan.request, tools=plan.tools, agents=AGENTS, in_order=True)
        if draft.dag is None or not draft.is_valid:
            return False, draft.tasks
        routing = self.loop.run_until_complete(self.router.route_tasks(draft.dag))
        repaired = self.loop.run_until_complete(
            AOPValidator(AGENTS, tools=plan.tools).repair(routing, draft.dag, plan.budget, request=plan.request)
        )
        return repaired.result.passed, tuple(repaired.dag)


def errors_of(issues: Iterable[Issue]) -> set[tuple[str, str]]:
    """Return the alarms, in a form that can be compared."""
    return {(issue.kind, issue.message) for issue in issues if issue.severity == "error"}


def notes_of(issues: Iterable[Issue]) -> set[str]:
    """Return the notes that something of the request is in no task."""
    return {issue.message for issue in issues if issue.kind in ("complete", "goal") and issue.severity == "warning"}


def same_tasks(tasks: Iterable[Task], others: Iterable[Task]) -> bool:
    """Whether two plans have the same tasks with the same dependencies."""
    first, second = (
        {
            one.task_id: (one.task_type, one.description, json.dumps(one.inputs), frozenset(one.dependencies))
            for one in some
        }
        for some in (tasks, others)
    )
    return first == second


def measure(path: Path, seed: int, split: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the figures of a file, by split."""
    checker = Checker()
    found: dict[str, dict[str, Any]] = {}
    for plan in read_plans(path):
        part = "dev" if hashlib.sha256(plan.row_id.encode()).digest()[0] % 2 == 0 else "test"
        if split not in (None, part):
            continue
        figures = found.setdefault(part, {**dict.fromkeys(COUNTS, 0), "ms": [], "faults": {}, "examples": []})
        plan = replace(plan, budget=ROOM * checker.expected_cost(plan))
        started = time.perf_counter()
        issues = checker.find(plan)
        figures["ms"].append(1000 * (time.perf_counter() - started))
        untouched, noted = errors_of(issues), notes_of(issues)
        figures["plans"] += 1
        figures["alarms"] += bool(untouched)
        figures["warned"] += any(issue.severity == "warning" for issue in issues)
        figures["wrong_notes"] += bool(noted)
        figures["examples"] += [("false alarm", plan.row_id, sorted(untouched))] if untouched else []
        for name, plant in FAULTS.items():
            faulty = plant(plan, random.Random(f"{seed} {name} {plan.row_id}"))
            if faulty is None:
                continue
            counts = figures["faults"].setdefault(name, Counter())
            issues = checker.find(faulty)
            alarmed = bool(errors_of(issues) - untouched)
            missed = name in COVERAGE and bool(notes_of(issues) - noted)
            figures["right_notes"] += missed
            caught = alarmed or missed
            passed, tasks = checker.repair(faulty) if alarmed else (False, ())
            counts.update(
                planted=1,
                found=caught,
                alarmed=alarmed,
                repaired=passed,
                restored=passed and same_tasks(tasks, plan.tasks),
            )
            varieties = {"planted": 1, "found": caught, "alarmed": alarmed, "repaired": passed}
            counts.update({f"{faulty.note}: {key}": value for key, value in varieties.items()})
            if not caught:
                figures["examples"].append((name, plan.row_id, faulty.note))
    return found


def share(part: float, whole: float) -> float | None:
    """Return a share, or None of nothing."""
    return round(part / whole, 4) if whole else None


def summarise(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts as shares."""
    faults = {}
    for name, counts in figures["faults"].items():
        notes = sorted({key.partition(": ")[0] for key in counts if ": " in key})
        faults[name] = {
            "planted": counts["planted"],
            "recall": share(counts["found"], counts["planted"]),
            "repaired": share(counts["repaired"], counts["alarmed"]),
            "restored": share(counts["restored"], counts["alarmed"]),
            "by_variety": {
                note: {
                    "planted": counts[f"{note}: planted"],
                    "recall": share(counts[f"{note}: found"], counts[f"{note}: planted"]),
                    "repaired": share(counts[f"{note}: repaired"], counts[f"{note}: alarmed"]),
                }
                for note in notes
            },
        }
    return {
        "plans": figures["plans"],
        "false_alarm_rate": share(figures["alarms"], figures["plans"]),
        "warning_rate": share(figures["warned"], figures["plans"]),
        "median_ms": round(statistics.median(figures["ms"]), 2) if figures["ms"] else None,
        "faults": faults,
        "structural_recall": _pooled(figures, STRUCTURAL),
        "coverage_recall": _pooled(figures, COVERAGE),
        "coverage_recall_with_trace": _pooled(figures, COVERAGE, without="no trace"),
        "repaired": share(
            sum(counts["repaired"] for counts in figures["faults"].values()),
            sum(counts["alarmed"] for counts in figures["faults"].values()),
        ),
        "right_notes": share(figures["right_notes"], figures["right_notes"] + figures["wrong_notes"]),
    }


def _pooled(figures: Mapping[str, Any], names: Iterable[str], *, without: str = "") -> float | None:
    chosen = [figures["faults"][name] for name in names if name in figures["faults"]]
    found = sum(counts["found"] - counts[f"{without}: found"] for counts in chosen)
    return share(found, sum(counts["planted"] - counts[f"{without}: planted"] for counts in chosen))


def pool(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of several files together."""
    total: dict[str, Any] = {**dict.fromkeys(COUNTS, 0), "ms": [], "faults": {}, "examples": []}
    for part in parts:
        for key in (*COUNTS, "ms", "examples"):
            total[key] = total[key] + part[key]
        for name, counts in part["faults"].items():
            total["faults"].setdefault(name, Counter()).update(counts)
    return total


def default_files() -> list[Path]:
    """Return the recorded plans of this machine.

    Raises:
        BadData: there are none.
    """
    folder = data_folder() / "plans"
    files = [path for path in sorted(folder.glob("*.jsonl.gz")) if "parallelqa" not in path.name]
    if not files:
        raise BadData(f"{folder}: no recorded plans; give --data FILE, or name their folder in KAPELLE_BENCH_DATA")
    return files


def main() -> None:
    """Measure, and print a table or one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("dev", "test"))
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--misses", type=int, default=0, help="print so many misses of each kind")
    options = parser.parse_args()
    try:
        counted = {str(path): measure(path, options.seed, options.split) for path in options.data or default_files()}
    except BadData as error:
        print(f"bench.faults: {error}", file=sys.stderr)
        sys.exit(2)
    parts = sorted({part for figures in counted.values() for part in figures})
    report = {
        Path(name).name.partition(".")[0]: {part: summarise(figures[part]) for part in figures}
        for name, figures in counted.items()
    }
    report["all files"] = {
        part: summarise(pool(figures[part] for figures in counted.values() if part in figures)) for part in parts
    }
    everything = summarise(pool(figures[part] for figures in counted.values() for part in figures))
    if len(parts) > 1:
        report["all files"]["dev and test"] = everything
    alone = [summarise(pool(figures.values()))["false_alarm_rate"] for figures in counted.values()]
    print_table(report)
    for part in parts:
        shown: Counter[str] = Counter()
        for kind, row_id, detail in pool(figures[part] for figures in counted.values() if part in figures)["examples"]:
            if shown[kind] < options.misses:
                shown[kind] += 1
                print(f"{part} {kind}: {row_id} {detail}")
    if options.json:
        top = {key: everything[key] for key in ("false_alarm_rate", "coverage_recall", "right_notes")}
        print(json.dumps({"seed": options.seed, **top, "worst_false_alarm_rate": max(alone), "files": report}))


def print_table(report: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the figures for people: recall, share repaired, share restored of every fault."""
    for name, splits in report.items():
        for part, row in splits.items():
            print(
                f"\n{name}, {part}: {row['plans']} plans, false alarms {_percent(row['false_alarm_rate'])} "
                f"(warned of {_percent(row['warning_rate'])}), {row['median_ms']} ms a plan"
            )
            for fault, figures in row["faults"].items():
                varieties = ", ".join(
                    f"{note} {_percent(one['recall'])} of {one['planted']} (repaired {_percent(one['repaired'])})"
                    for note, one in figures["by_variety"].items()
                )
                print(
                    f"  {fault:<20}{figures['planted']:>6} planted  recall {_percent(figures['recall']):>6}  "
                    f"repaired {_percent(figures['repaired']):>6}  restored {_percent(figures['restored']):>6}  "
                    f"{varieties}"
                )
            print(
                f"  structural {_percent(row['structural_recall'])}, coverage {_percent(row['coverage_recall'])} "
                f"(with a trace {_percent(row['coverage_recall_with_trace'])}), repaired {_percent(row['repaired'])}, "
                f"right notes {_percent(row['right_notes'])}"
            )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


if __name__ == "__main__":
    main()
