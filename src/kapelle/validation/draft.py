"""Checks a plan that is not a graph yet, as a model or a person wrote it, and makes a graph of it.

A draft may dangle, repeat ids and go in circles. `validate_draft` says what is wrong; `repair_draft` applies the edits
that come with it, one at a time, each kept only if it leaves strictly fewer errors. What no edit can mend is reported.
A task that only repeats another is an error here, where it costs nothing to leave it out; in a routed plan it is a
warning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidGraph, InvalidInput
from kapelle.graph import Task, TaskDAG
from kapelle.limits import MAX_TASKS
from kapelle.models import ToolDefinition

from .content import find_content_issues, too_many_tasks
from .edit import Edit
from .issue import Issue
from .redundancy import find_redundant
from .repair import MAX_EDITS, MAX_ROUNDS, is_better, trials_for
from .schemas import Tools, as_tools
from .structure import find_structure_faults


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanDraft:
    """Tasks as they were written down, and what they are for."""

    tasks: tuple[Task, ...]
    request: str | None = None
    tools: Mapping[str, ToolDefinition] = field(default_factory=dict)
    """The tools that task types name; empty: they name kinds of work."""
    agents: Mapping[str, AgentCapability] = field(default_factory=dict)
    """Whose task types count as kinds of work beside the tools."""
    in_order: bool = False
    """Whether the author listed the tasks in the order in which they are to be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftRepair:
    """What became of a draft."""

    dag: TaskDAG | None
    """The graph, also where errors are left that keep no graph from being built; None where they do."""
    tasks: tuple[Task, ...]
    edits: tuple[Edit, ...]
    """What was changed, in order."""
    issues: tuple[Issue, ...]
    """What is left, errors first."""

    @property
    def is_valid(self) -> bool:
        """Whether no error is left."""
        return self.dag is not None and all(issue.severity != "error" for issue in self.issues)


def validate_draft(
    tasks: Iterable[Task],
    *,
    request: str | None = None,
    tools: Tools = (),
    agents: Mapping[str, AgentCapability] | None = None,
    in_order: bool = False,
) -> tuple[Issue, ...]:
    """Return what is wrong with tasks that need not be a graph, errors first. Never raises for tasks.

    >>> [str(issue) for issue in validate_draft([Task(task_id="b", task_type="search", depends_on=("a",))])]
    ["error (structure): Task 'b' waits for 'a', which is not there. Add 'a', or correct the reference."]
    """
    return find_draft_issues(_read(tasks, request, tools, agents, in_order))


def repair_draft(
    tasks: Iterable[Task],
    *,
    request: str | None = None,
    tools: Tools = (),
    agents: Mapping[str, AgentCapability] | None = None,
    in_order: bool = False,
    finished: Collection[str] = (),
    max_rounds: int = MAX_ROUNDS,
) -> DraftRepair:
    """Apply the edits of what `validate_draft` finds, as long as each leaves strictly fewer errors.

    Raises:
        InvalidInput: `max_rounds` is negative.
    """
    if max_rounds < 0:
        raise InvalidInput(f"max_rounds is {max_rounds!r}; give zero or more.")
    draft = _read(tasks, request, tools, agents, in_order)
    issues = find_draft_issues(draft)
    edits: list[Edit] = []
    trials = trials_for(len(draft.tasks))
    for _ in range(max_rounds):
        before = len(edits)
        for edit in [one.edit for one in _errors(issues) if one.edit is not None][: min(MAX_EDITS, trials)]:
            trials -= 1
            changed = _try_edit(draft, edit, issues, finished)
            if changed is not None:
                draft, issues = changed
                edits.append(edit)
        if len(edits) == before or not _errors(issues):
            break
    try:
        dag = TaskDAG(draft.tasks)
    except InvalidGraph:
        dag = None
    return DraftRepair(dag=dag, tasks=draft.tasks, edits=tuple(edits), issues=issues)


def mend_draft(tasks: Iterable[Task]) -> tuple[TaskDAG, tuple[str, ...]] | None:
    """Mend what a model planned, for its planner: see planning, DraftMender.

    A result that is taken from a task which is not there is for the model to explain, as is work that is missing, and
    an order of tasks that only turning an edge round would give: there is more than one way to mend these.

    >>> tasks = [Task(task_id="a", task_type="search"), Task(task_id="b", task_type="write", depends_on=("a", "z"))]
    >>> mend_draft(tasks)[1]
    ("Repaired: Let 'b' wait no longer for 'z', which is not there.",)
    """
    drafts = tuple(islice(tasks, MAX_TASKS + 1))
    ids = {task.task_id for task in drafts}
    if any(name not in ids for task in drafts for name in task.references):
        return None
    try:
        dag = TaskDAG(drafts)
    except InvalidGraph:
        repair = repair_draft(drafts, in_order=True)
        edges = {(name, task.task_id) for task in drafts for name in task.dependencies}
        if not repair.is_valid or repair.dag is None or not edges.issuperset(repair.dag.edges):
            return None
    else:
        repair = repair_draft(dag)
    if repair.dag is None:
        return None
    return repair.dag, tuple(f"Repaired: {edit.summary}" for edit in repair.edits)


def find_draft_issues(draft: PlanDraft) -> tuple[Issue, ...]:
    """Return every finding, errors first."""
    if len(draft.tasks) > MAX_TASKS:
        return (too_many_tasks(len(draft.tasks), is_exact=False),)
    found = [*find_structure_faults(draft.tasks, request=draft.request, in_order=draft.in_order, tools=draft.tools)]
    found += find_redundant(draft.tasks, severity="error")
    found += find_content_issues(draft.tasks, draft.request, draft.tools, draft.agents)
    return tuple(sorted(found, key=lambda issue: issue.severity != "error"))


def _read(
    tasks: Iterable[Task],
    request: str | None,
    tools: Tools,
    agents: Mapping[str, AgentCapability] | None,
    in_order: bool,
) -> PlanDraft:
    return PlanDraft(
        tasks=tuple(islice(tasks, MAX_TASKS + 1)),  # what never ends is not read to its end
        request=request,
        tools=as_tools(tools),
        agents=agents or {},
        in_order=in_order,
    )


def _try_edit(
    draft: PlanDraft, edit: Edit, issues: Sequence[Issue], finished: Collection[str]
) -> tuple[PlanDraft, tuple[Issue, ...]] | None:
    try:
        tasks = edit.applied_to(draft.tasks, finished=finished)
    except InvalidGraph:
        return None
    changed = replace(draft, tasks=tasks)
    after = find_draft_issues(changed)
    return (changed, after) if is_better(after, issues) else None


def _errors(issues: Sequence[Issue]) -> list[Issue]:
    return [issue for issue in issues if issue.severity == "error"]
