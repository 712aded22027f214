"""Runs Python and arithmetic in the sandbox. What other tasks found is a number of the sum, and never a part of it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kapelle.agents import AgentResult, TaskContext, call_in_thread
from kapelle.errors import CannotAnswer
from kapelle.graph import Filled, Task
from kapelle.language import quote_text

from .inputs import as_text, read_parts, read_text, show_number

if TYPE_CHECKING:
    from kapelle.tools import Sandbox


class PythonAgent:
    """Runs the input `code`, with the other inputs as variables, or calculates the input `expression`.

    The output holds `text`, `answer` (the value of the last expression) and `printed`.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._given = sandbox

    @cached_property
    def _sandbox(self) -> Sandbox:
        from kapelle.tools import Sandbox  # started by the first program

        return self._given or Sandbox()

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Run it; see the class.

        Raises:
            CannotAnswer: the program failed, or the expression is no arithmetic.
            RefusedQuery: it wanted what it may not have.
        """
        return await call_in_thread(self._run, task, context)

    def _run(self, task: Task, context: TaskContext) -> AgentResult:
        code = task.inputs.get("code")
        if isinstance(code, str) and code.strip():
            _refuse_data_in_code(read_parts(task, context, "code"))
            variables = {name: value for name, value in task.inputs.items() if name != "code" and name.isidentifier()}
            result = self._sandbox.run_program(code, variables)
            text = result.printed.rstrip("\n") or show_number(result.value) or "The program ended without a value."
            output: dict[str, Any] = {"text": text, "answer": result.value, "printed": result.printed}
            return AgentResult(output=output, cost_usd=0.0)
        asked = read_text(task, *_ASKED) or task.description
        name = next((name for name in _ASKED if as_text(task.inputs.get(name)).strip()), "")
        parts = read_parts(task, context, name)
        expression = "".join(_as_number(part) if isinstance(part, Filled) else part for part in parts)
        whole = len(parts) == 1 or not name
        value = self._sandbox.run_program(as_arithmetic(asked if whole else expression)).value
        if isinstance(value, float):
            value = float(f"{value:.12g}")  # 0.1 + 0.2 is 0.3 to whoever asks for it
        total = f"{value:,.12g}" if isinstance(value, float) else show_number(value)
        shown = f"{_LEAD.sub('', asked.strip()).rstrip('?=. ')} = {total}"
        return AgentResult(output={"text": shown, "answer": value, "printed": ""}, cost_usd=0.0)


_ASKED = ("expression", "query", "question", "request")
_NUMBER = re.compile(r"[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?\s*%?")


def _as_number(part: Filled) -> str:
    """An output as a number of a sum; brackets keep what is around it from reaching into it."""
    text = part.text.strip().rstrip(".")
    if _NUMBER.fullmatch(text) is None:
        raise CannotAnswer(f"{part.reference} is {quote_text(text)}, which is no number to calculate with.")
    return text if text[0].isdigit() else f"({text})"


def _refuse_data_in_code(parts: tuple[str | Filled, ...]) -> None:
    """Numbers may stand in a program as they are; a text that another task found would be read as a part of it."""
    for part in parts if len(parts) > 1 else ():
        if isinstance(part, Filled) and not isinstance(part.bare, (int, float)):
            raise CannotAnswer(
                f"The program has the output {part.reference} in its text. Give it to the program as a variable: an "
                f"input of its own, such as found: {str(part.reference)!r}, and `found` in the code."
            )


_LEAD = re.compile(
    r"^(?:what(?:'s| is| are)|how much (?:is|are)|calculate|compute|evaluate|the result of)\s+", re.IGNORECASE
)
_WORDS = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"(\d+(?:\.\d+)?)\s*(?:%|per ?cent)\s+of\s+", r"(\1/100)*"),
    (r"(\d+(?:\.\d+)?)\s*(?:%|per ?cent)(?!\s*[\d(])", r"(\1/100)"),
    (r"\bsquared\b", "**2"),
    (r"\bto the power of\b|\^", "**"),
    (r"\bplus\b", "+"),
    (r"\bminus\b|[−–]", "-"),
    (r"\bmultiplied by\b|\btimes\b|[×·]", "*"),
    (r"\bdivided by\b|[÷]", "/"),
)
_ARITHMETIC = re.compile(r"[\d\s.()+\-*/%eE]+")


def as_arithmetic(text: str) -> str:
    """Return arithmetic in words and signs as a Python expression.

    >>> as_arithmetic("What is 12% of 1,340?"), as_arithmetic("2 ^ 10"), as_arithmetic("3 times (4 plus 5)")
    ('(12/100)*1340', '2 ** 10', '3 * (4 + 5)')

    Raises:
        CannotAnswer: it is no arithmetic.
    """
    expression = _LEAD.sub("", text.strip()).rstrip("?=. ")
    for pattern, replacement in _WORDS:
        expression = re.sub(pattern, replacement, expression, flags=re.IGNORECASE)
    if not _ARITHMETIC.fullmatch(expression) or not re.search(r"\d", expression):
        raise CannotAnswer(
            f"{quote_text(text)} is no arithmetic. Use numbers, + - * / ** % and brackets, or send `code`."
        )
    return expression.strip()
