"""Checks of answers: well formed, passing the task's tests, or called right by another agent.

    well_formed   there is an answer; it fits the functions or the schema that the task declares; validators agree
    tests         the task's tests (Python asserts) run after the answer's program, in the sandbox
    verifier      an agent is asked whether the answer is right, and says yes

A check of which nothing is known was not passed: the strategy then goes on to the next agent, which costs money and
never the answer. Agreement is no check: it is what a Vote counts, over the forms that canonical makes.

A guard fails closed: what it says counts where it is True or False, plain or awaited, and nothing that Python merely
takes for true. A validator that says anything else, such as `(False, "too short")`, is at fault itself: no answer can
pass it.

What a task declares is in its `metadata` or its `inputs`: `functions` (or `tools`), `output_schema`, `tests`. In a log
it is the row's `context`, as JSON under the same names. Answers and tests are untrusted. Decides nothing: see strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kapelle.errors import InvalidInput
from kapelle.graph import Task

from .declared import declared, task_context
from .strategy import Check
from .verdict import AskAgent, Validator, Verdict

if TYPE_CHECKING:
    from kapelle.estimates import LoggedTask
    from kapelle.tools import Sandbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Checks:
    """The checks at hand: what the user added to them, and what was found out about logged answers.

    >>> import asyncio
    >>> task = Task(task_id="s1", task_type="call", metadata={"functions": [{"name": "f", "parameters": {}}]})
    >>> asyncio.run(Checks().examine(Check(kind="well_formed"), task, "g()")).note
    "'g' is no declared function"
    """

    validators: Mapping[str, Validator] = field(default_factory=dict)
    """By type of task: the user's own function, which `well_formed` asks as well."""
    sandbox: Sandbox | None = None
    """Where tests run; by default one sandbox for all, started when it is first needed."""
    verdicts: Mapping[tuple[str, str, str], Verdict] = field(default_factory=dict)
    """By (task id, agent, check as a text): what checks that cannot be repeated over a log have found."""

    def __post_init__(self) -> None:
        if not isinstance(self.validators, Mapping):
            raise InvalidInput(f"validators={self.validators!r:.80}: give a mapping of task types to functions.")
        for task_type, validator in self.validators.items():
            if not callable(validator):
                raise InvalidInput(f"The validator for {task_type!r} is {validator!r:.80}; give a function.")
        object.__setattr__(self, "validators", dict(self.validators))  # whoever gave them may change theirs

    def guards(self, task: Task) -> bool:
        """Return whether every answer to this task must pass a validator that the user gave."""
        return task.task_type in self.validators

    async def examine(self, check: Check, task: Task, output: object, *, ask: AskAgent | None = None) -> Verdict:
        """Return whether an answer passes a check. Never raises for what the answer or the tests hold.

        Args:
            check: Which.
            task: With its inputs resolved.
            output: The answer, as the agent gave it.
            ask: Asks an agent; a verifier needs it. What it raises but AgentFailed and TryAgain goes to the caller.
        """
        from . import examination as how  # with what reads calls and programs, which most runs never do

        context = task_context(task)
        if check.kind == "well_formed":
            problem, validator = how.find_problem(output, context), self.validators.get(task.task_type)
            if problem or validator is None:
                return how.judge_form(problem)
            return await how.ask_validator(how.name_of(task.task_type), validator, output)
        if check.kind == "tests":
            return await how.run_tests(output, declared(context).get("tests"), self.sandbox or how.shared_sandbox())
        if check.agent is None or ask is None:
            return how.unchecked("there is nobody to ask whether the answer is right")
        return await how.ask_verifier(check.agent, task, output, ask)

    def examine_logged(self, check: Check, task: LoggedTask, agent: str) -> Verdict | None:
        """Return whether a logged answer passes; None where that cannot be known without running something."""
        from . import examination as how  # as above

        known = self.verdicts.get((task.task_id, agent, str(check)))
        outcome = task.outcomes.get(agent)
        if known is not None or check.kind != "well_formed" or outcome is None or outcome.output is None:
            return known
        problem, validator = how.find_problem(outcome.output, task.context), self.validators.get(task.task_type)
        if problem or validator is None:
            return how.judge_form(problem)
        return None if how.is_async(validator) else how.ask_now(how.name_of(task.task_type), validator, outcome.output)
