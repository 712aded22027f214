"""Writes Markdown from what other tasks found: reports, comparisons, summaries. Adds no fact of its own.

It arranges, quotes, and calculates a difference and a ratio where two numbers measure the same. It writes no files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import CannotAnswer
from kapelle.graph import Task, title_task
from kapelle.language import quote_text, split_sentences

from .inputs import as_text, read_text, show_number

MAX_CELL_CHARS = 300
MAX_SHORT_CHARS = 60
"""An answer up to this length is a value, and has its place in a table; longer ones are prose."""


class WriterAgent:
    """Composes Markdown from the outputs of the tasks before it; the inputs `title` and `style` (`brief`) are optional.

    The output holds `text`, `answer` and `body` (both without title and sources) and `sources`.

    Args:
        mark: Stands after what comes from the memory of a model.
        compares_prose: Whether texts are put side by side as a comparison; False where whoever is asked next, such as a
            model, can do better.
    """

    def __init__(self, *, mark: str = "", compares_prose: bool = True) -> None:
        self._mark = mark
        self._compares_prose = compares_prose

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Write it; see the class.

        Raises:
            CannotAnswer: there is nothing to write from.
        """
        findings = [self._read(task_id, output, context) for task_id, output in context.upstream.items()]
        findings = [finding for finding in findings if finding.text]
        if not findings:
            own = read_text(task, "text", "content", "input")
            if not own:
                raise CannotAnswer(
                    f"Task {quote_text(task.task_id)} has nothing to write from: no task before it found anything. "
                    "Let it depend on tasks that do, or configure a model (KAPELLE_MODEL)."
                )
            findings = [_Finding(heading="", text=own)]
        title = " ".join(read_text(task, "title").split())
        brief = read_text(task, "style").lower() in ("brief", "short")
        sources = list(dict.fromkeys(source for finding in findings for source in finding.sources))
        if task.task_type == "compare":
            if not self._compares_prose and any(finding.is_prose for finding in findings):
                raise CannotAnswer(
                    f"Task {quote_text(task.task_id)} compares texts, and not values. Name what is to be compared."
                )
            body = _compare(findings)
        elif task.task_type == "summarize" or brief:
            body = _summarize(findings)
        elif task.task_type in ("combine", "join", "answer"):
            body = _combine(findings)
        else:
            title = title or " ".join(task.description.split()) or "Report"
            body = _report(findings)
        body += _list_missing(context)
        text = (f"# {title}\n\n" if title else "") + body + list_sources(sources)
        return AgentResult(output={"text": text, "answer": body, "body": body, "sources": sources}, cost_usd=0.0)

    def _read(self, task_id: str, output: Any, context: TaskContext) -> _Finding:
        heading = _heading(task_id, context)
        mark = f" {self._mark}" if self._mark and task_id in context.from_memory else ""
        if not isinstance(output, Mapping):
            text = as_text(output).strip()
            return _Finding(heading=heading, text=text + mark if text else "")
        text = as_text(output.get("body") or output).strip()
        sources = output.get("sources")
        listed = tuple(" ".join(str(one).split()) for one in sources) if isinstance(sources, (list, tuple)) else ()
        return _Finding(
            heading=heading,
            text=text + mark if text else "",
            sources=listed,
            measure=_measure(output, heading) if not mark else None,
            cells=_places(output, heading) if not mark else (),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    """What one task found."""

    heading: str
    text: str
    sources: tuple[str, ...] = ()
    measure: _Measure | None = None
    cells: tuple[_Cell, ...] = ()

    @property
    def is_prose(self) -> bool:
        """Whether it is no value, nor values that have their places in a table."""
        return self.measure is None and not self.cells and len(self.text) > MAX_SHORT_CHARS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    """One value that has its place in a table: what it belongs to, and what it tells of that."""

    subject: str
    attribute: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measure:
    """A number, and what it is the number of."""

    subject: str
    attribute: str
    value: float
    unit: str


def _heading(task_id: str, context: TaskContext) -> str:
    task = context.upstream_tasks.get(task_id)
    heading = " ".join(title_task(task).split()) if task is not None else task_id
    heading = re.sub(r"^look up:? (?:the )?", "", heading, flags=re.IGNORECASE).rstrip(".")
    return heading[:1].upper() + heading[1:]


def _measure(output: Mapping[str, Any], heading: str) -> _Measure | None:
    fact = output.get("fact")
    if isinstance(fact, Mapping):
        value = _finite_number(fact.get("value"))
        subject = str(fact.get("subject", "")) or heading
        if value is not None:
            return _Measure(
                subject=subject, attribute=str(fact.get("attribute", "")), value=value, unit=str(fact.get("unit", ""))
            )
    return None


def _places(output: Mapping[str, Any], heading: str) -> tuple[_Cell, ...]:
    """Where a finding belongs in a table: as its `facts` say, or as a task "population of Peru" was answered."""
    facts = output.get("facts")
    listed = facts if isinstance(facts, (list, tuple)) else [output.get("fact")]
    if cells := tuple(cell for fact in listed if (cell := _place(fact)) is not None):
        return cells
    asked = re.fullmatch(r"(?P<attribute>[^?]+?) of (?P<subject>[^?]+)", heading)
    answer = output.get("answer")
    if asked is None or not isinstance(answer, str) or not 0 < len(answer) <= MAX_SHORT_CHARS:
        return ()
    return (_Cell(subject=asked["subject"], attribute=asked["attribute"].lower(), text=answer),)


def _place(fact: object) -> _Cell | None:
    if not (isinstance(fact, Mapping) and fact.get("subject") and fact.get("attribute")):
        return None
    number = _finite_number(fact.get("value"))
    text = str(fact.get("value", "")) if number is None else show_number(number)
    unit = f" {fact['unit']}" if fact.get("unit") else ""
    return _Cell(subject=str(fact["subject"]), attribute=str(fact["attribute"]), text=text + unit)


def _finite_number(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if known else None


def _report(findings: list[_Finding]) -> str:
    tabled = _tabled(findings)
    sections = [_table([cell for finding in tabled for cell in finding.cells])] if tabled else []
    rest = [finding for finding in findings if finding not in tabled]
    return "\n\n".join([*sections, *([_sections(rest)] if rest else [])])


def _tabled(findings: list[_Finding]) -> list[_Finding]:
    """The findings that make one table: the same facts about several things, each told once."""
    placed = [finding for finding in findings if finding.cells]
    places = [(cell.subject.lower(), cell.attribute.lower()) for finding in placed for cell in finding.cells]
    subjects, attributes = {subject for subject, _ in places}, {attribute for _, attribute in places}
    full = len(set(places)) == len(places) == len(subjects) * len(attributes)
    return placed if full and len(subjects) >= 2 and len(places) >= 3 else []


def _rows(findings: list[_Finding]) -> list[_Cell]:
    """The cells of findings that are each the row of a thing, if there is a column that every one of them has."""
    subjects = [{cell.subject for cell in finding.cells} for finding in findings]
    shared = set.intersection(*({cell.attribute for cell in finding.cells} for finding in findings))
    apart = all(len(names) == 1 for names in subjects) and len(set.union(*subjects)) == len(findings) > 1
    return [cell for finding in findings for cell in finding.cells] if apart and shared else []


def _table(cells: list[_Cell]) -> str:
    subjects = list(dict.fromkeys(cell.subject for cell in cells))
    attributes = list(dict.fromkeys(cell.attribute for cell in cells))
    text = {(cell.subject, cell.attribute): cell.text for cell in cells}
    lines = [
        f"| | {' | '.join(_cell(attribute) for attribute in attributes)} |",
        "| --- |" + " --- |" * len(attributes),
    ]
    for subject in subjects:
        row = (_cell(text.get((subject, attribute), "")) for attribute in attributes)
        lines.append(f"| {_cell(subject)} | {' | '.join(row)} |")
    return "\n".join(lines)


def _sections(findings: list[_Finding]) -> str:
    return "\n\n".join(
        f"## {finding.heading}\n\n{_under(finding.text)}" if finding.heading else finding.text for finding in findings
    )


def _under(text: str) -> str:
    """Move the headings of a text below the section that it stands in."""
    return re.sub(r"^(#{1,4}) ", r"##\1 ", text, flags=re.MULTILINE)


def _combine(findings: list[_Finding]) -> str:
    if len(findings) == 1:
        return findings[0].text
    plain = all("\n" not in finding.text for finding in findings)
    if plain:
        return "\n".join(f"- {text}" for text in _named(findings))
    return _report(findings)


def _named(findings: list[_Finding]) -> list[str]:
    """Return the texts of findings, each with its heading before it where the text does not tell it from the others."""
    words = [frozenset(re.findall(r"\w+", finding.heading)) for finding in findings]
    shared = frozenset.intersection(*words)
    return [
        finding.text if _tells(finding, own - shared) else f"{finding.heading}: {finding.text}"
        for finding, own in zip(findings, words, strict=True)
    ]


def _tells(finding: _Finding, words: frozenset[str]) -> bool:
    """Whether a text says what it is about, given the words that only its heading has: names and numbers count most."""
    if "\n" in finding.text or finding.text.casefold().startswith(finding.heading.casefold()):
        return True
    first = finding.heading.split()[0] if finding.heading else ""
    names = {word for word in words if not word.islower() and word != first} or words
    said = {word.casefold() for word in re.findall(r"\w+", finding.text)}
    return all(word.casefold() in said for word in names)


def _summarize(findings: list[_Finding]) -> str:
    if len(findings) == 1:
        return _first_sentences(findings[0].text, 3)
    parts = _named([replace(finding, text=_first_sentences(finding.text, 1)) for finding in findings])
    return "\n".join(f"\n{part}\n" if "\n" in part else f"- {part}" for part in parts).strip("\n")


def _first_sentences(text: str, most: int) -> str:
    plain = re.sub(r"^#{1,6} .*$", "", text, flags=re.MULTILINE).strip()
    prose = re.sub(r"^(?:\|.*)$", "", plain, flags=re.MULTILINE).strip()
    if prose.endswith(":") or not prose:
        return plain  # it is a table, which has no first sentence
    plain = prose
    plain = " ".join(plain.split())
    return " ".join(split_sentences(plain)[:most])


def _compare(findings: list[_Finding]) -> str:
    measures = [finding.measure for finding in findings]
    known = [measure for measure in measures if measure is not None]
    same = len(known) == len(findings) >= 2 and len({(measure.attribute, measure.unit) for measure in known}) == 1
    if len(tabled := _tabled(findings)) == len(findings) and not same:
        return _table([cell for finding in tabled for cell in finding.cells])
    if not same and (cells := _rows(findings)):
        return _table(cells)
    if not same or not known[0].attribute:
        apart = all(finding.cells for finding in findings) and len(findings) > 1
        lines = ["No column of the tables is known of all of these, so they are not compared.", ""] if apart else []
        lines += ["| | |", "| --- | --- |"]
        lines += [f"| {_cell(finding.heading)} | {_cell(finding.text)} |" for finding in findings]
        return "\n".join(lines)
    unit = f" ({known[0].unit})" if known[0].unit else ""
    lines = [f"| | {known[0].attribute}{unit} |", "| --- | ---: |"]
    lines += [f"| {_cell(measure.subject)} | {show_number(measure.value)} |" for measure in known]
    return "\n".join(lines) + "\n\n" + _difference(known)


def _difference(measures: list[_Measure]) -> str:
    ordered = sorted(measures, key=lambda measure: measure.value, reverse=True)
    high, low = ordered[0], ordered[-1]
    attribute, unit = high.attribute, f" {high.unit}" if high.unit else ""
    if high.value == low.value:
        return f"The {attribute} is the same: {show_number(high.value)}{unit}."
    gap = f"The difference is {show_number(high.value - low.value)}{unit}"
    ratio = ""
    if low.value > 0:
        ratio = f"; the {attribute} of {high.subject} is {_ratio(high.value / low.value)} times that of {low.subject}"
    if len(ordered) == 2:
        return f"{gap}{ratio}."
    return (
        f"Largest: {high.subject} ({show_number(high.value)}{unit}). Smallest: {low.subject} "
        f"({show_number(low.value)}{unit}). {gap}{ratio}."
    )


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.1f}" if ratio < 1000 else f"{ratio:,.0f}"


def _cell(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= MAX_CELL_CHARS else flat[: MAX_CELL_CHARS - 4] + " ..."


def _list_missing(context: TaskContext) -> str:
    """What was asked for and not found, with the reason: a report that is silent about it would mislead."""
    if not context.missing:
        return ""
    lines = []
    for task_id, reason in context.missing.items():
        heading = _heading(task_id, context)
        lines.append(f"- {heading}: {_cell(reason.partition('. ')[0])}")
    return "\n\n## Missing\n\n" + "\n".join(lines)


def list_sources(sources: list[str]) -> str:
    """Return the section at the end of a text that lists its sources; empty without any."""
    if not sources:
        return ""
    lines = "\n".join(f"{number}. {source}" for number, source in enumerate(sources, start=1))
    return f"\n\n## Sources\n\n{lines}"
