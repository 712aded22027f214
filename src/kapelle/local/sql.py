"""Answers SQL, and plain questions that rules can turn into SQL, from the tables of a folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kapelle.agents import AgentResult, TaskContext, call_in_thread
from kapelle.errors import AskPerson, CannotAnswer
from kapelle.graph import Filled, Task
from kapelle.language import quote_text, split_words, word_set
from kapelle.tools import Table, TableResult, Tables, quote_name

from .folder import find_left_out, name_left_out
from .inputs import as_text, find_data, read_parts, read_text, require_text, show_cell
from .table_questions import NotUnderstood, TablePlan, TableQuestions

ASKED = ("question", "query", "request")
MAX_SHOWN_ROWS = 50
MAX_LISTED_VALUES = 30
"""A single column of no more rows than this is a list in a sentence; more is a table."""


class SqlAgent:
    """Runs the input `sql`, or the SQL that the input `question` means.

    The output holds `text`, `answer`, `sql`, `understood`, `columns`, `rows`, `truncated` and `sources`.
    """

    def __init__(self, tables: Tables, questions: TableQuestions, *, attended: bool = False) -> None:
        self._tables = tables
        self._questions = questions
        self._attended = attended

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Answer from the tables; see the class.

        Raises:
            RefusedQuery: the SQL is malformed, or does more than read.
            CannotAnswer: the question is not understood, or in several ways, which are its `readings`.
            AskPerson: which of them is meant, where somebody is there to say.
        """
        return await call_in_thread(self.answer, task, context)

    def answer(self, task: Task, context: TaskContext) -> AgentResult:
        """Do what `run` does, at once."""
        sql = read_text(task, "sql")
        if sql:
            parts = read_parts(task, context, "sql")
            sql = write_sql(parts) if len(parts) > 1 else sql
            words = set(re.findall(r"\w+", sql.lower()))
            read = [table for table in self._tables.tables if table.name.lower() in words]
            return AgentResult(output=self._answer(sql, "", read), cost_usd=0.0)
        question = require_text(task, *ASKED)
        file = read_text(task, "file")
        named = find_table(self._tables, file)
        plan: TablePlan | NotUnderstood = self._questions.plan(
            _without_file(question, file, named), values=find_data(task, context, *ASKED)
        )
        if isinstance(plan, NotUnderstood) and (readings := _readings_of(plan, named)):
            plan = choose_reading(question, readings, context, attended=self._attended)
        if named is not None and (isinstance(plan, NotUnderstood) or named.name not in plan.tables):
            if not _asks_for_everything(question, file, named):
                reason = plan.reason if isinstance(plan, NotUnderstood) else "The question is about another table."
                raise CannotAnswer(f"{quote_text(question)} cannot be answered from {named.file}: {reason}")
            plan = TablePlan(
                sql=f"SELECT * FROM {quote_name(named.name)}",  # noqa: S608 - quoted
                understood=f"Everything in {named.file}.",
                tables=(named.name,),
            )
        if isinstance(plan, NotUnderstood):
            raise CannotAnswer(f"{quote_text(question)} is not understood as a question to the tables: {plan.reason}")
        used = [table for table in self._tables.tables if table.name in plan.tables]
        return AgentResult(output=self._answer(plan.sql, plan.understood, used, plan.claim), cost_usd=0.0)

    def _answer(self, sql: str, understood: str, used: Iterable[Table], claim: str = "") -> dict[str, Any]:
        result = self._tables.query(sql)
        files = [table.file for table in used]
        return describe_result(result, sql, understood, files, claim=claim, codes=self._questions.codes())


def find_table(tables: Tables, file: str) -> Table | None:
    """Return the table of a file, by its path or name; None where no file is given, or several have that name.

    Raises:
        CannotAnswer: there is none, or it was left out.
    """
    if not file:
        return None
    there = tables.tables
    name = file.replace("\\", "/").rsplit("/", 1)[-1].casefold()
    found = [table for table in there if table.file == file] or [
        table for table in there if table.file.rsplit("/", 1)[-1].casefold() == name
    ]
    if found:
        return found[0] if len(found) == 1 else None
    if (skipped := find_left_out(file, tables.skipped)) is not None:
        raise CannotAnswer(f"The table file {skipped.file!r} was left out: {skipped.reason}.")
    raise CannotAnswer(
        f"There is no table file {quote_text(file)} in the folder. There are: {_files(there)}."
        + name_left_out(tables.skipped)
    )


def _readings_of(plan: NotUnderstood, named: Table | None) -> tuple[TablePlan, ...]:
    """What a question could mean; where a file is named, of that file."""
    return tuple(one for one in plan.readings if named is None or named.name in one.tables)


def choose_reading(
    question: str, readings: Sequence[TablePlan], context: TaskContext, *, attended: bool = False
) -> TablePlan:
    """Return the reading that a person has chosen; one alone needs no choice.

    Raises:
        AskPerson: nobody has chosen yet, and somebody is there (`attended`).
        CannotAnswer: nobody has chosen, and nobody is there; its `readings` are these.
    """
    by_words: dict[str, TablePlan] = {}
    for reading in readings:
        words = reading.understood.removesuffix(".")
        is_told_apart = by_words.get(words, reading).sql == reading.sql
        by_words.setdefault(words if is_told_apart else f"{words} ({reading.sql})", reading)
    if len(by_words) == 1:
        return readings[0]
    several = f"{quote_text(question)} can be read in {len(by_words)} ways"
    try:
        return by_words[context.ask(f"{several}. Which is meant?", list(by_words))]
    except AskPerson:
        if attended:
            raise
    ways = "; ".join(f"({number}) {words}" for number, words in enumerate(by_words, start=1))
    raise CannotAnswer(
        f"{several}: {ways}. Say which in the question, or send the SQL of one.",
        readings=[{"understood": words, "sql": reading.sql} for words, reading in by_words.items()],
    )


_SQL_MARK = re.compile(r"'|\"|`|\[|--|/\*")
_SQL_ENDS = {"'": "'", '"': '"', "`": "`", "[": "]", "--": "\n", "/*": "*/"}


def write_sql(parts: Sequence[str | Filled]) -> str:
    """Return a query with the outputs in it as values: inside quotes as their text, elsewhere as a number or a text.

    A list of values stands as they do in `IN (...)`. In a comment nothing is filled in.

    >>> from kapelle.graph import split_filled
    >>> write_sql(split_filled("SELECT 1 FROM t WHERE a = '{s1}'", {"s1": "x' OR 1=1 --"}))
    "SELECT 1 FROM t WHERE a = 'x'' OR 1=1 --'"
    """
    written: list[str] = []
    inside = ""  # the mark that opened what the position is in: a text, a name, a comment
    for part in parts:
        if isinstance(part, str):
            written.append(part)
            inside = _still_open(part, inside)
        elif not inside:
            written.append(_as_literal(_values_of(part)))
        elif inside in ("'", '"', "`"):
            written.append(part.text.replace("\x00", "").replace(inside, 2 * inside))
        elif inside == "[":
            raise CannotAnswer(f"{part.reference} stands inside of [...], where no value can. Use double quotes.")
    return "".join(written)


def _still_open(sql: str, inside: str) -> str:
    """What is open at the end of a piece of SQL, when `inside` was at its beginning. A doubled quote opens anew."""
    position = 0
    while True:
        if inside:
            end = sql.find(_SQL_ENDS[inside], position)
            if end < 0:
                return inside
            position, inside = end + len(_SQL_ENDS[inside]), ""
        opening = _SQL_MARK.search(sql, position)
        if opening is None:
            return ""
        position, inside = opening.end(), opening[0]


def _values_of(part: Filled) -> Any:
    """The value that an output is: of several rows of a table, the first cell of each."""
    rows = part.value.get("rows") if isinstance(part.value, Mapping) else None
    if isinstance(rows, (list, tuple)) and len(rows) > 1:
        return [row[0] if isinstance(row, (list, tuple)) and row else row for row in rows]
    return part.bare


def _as_literal(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value:
        return ", ".join(map(_as_literal, value))
    if isinstance(value, bool) or value is None:
        return {True: "1", False: "0", None: "NULL"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    text = as_text(value).replace("\x00", "")
    # A code such as 007 is a text.
    return text if re.fullmatch(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,18})?", text) else "'" + text.replace("'", "''") + "'"


def describe_result(
    result: TableResult, sql: str, understood: str, files: list[str], *, claim: str = "", codes: Collection[str] = ()
) -> dict[str, Any]:
    """Return the output for a query's result: a sentence for one cell, a list for one column, otherwise a table.

    With a `claim` such as "the most rivers", the rows are what has them, and how many. Columns that are `codes` are
    shown without marks in their numbers.
    """
    shown_rows = [
        tuple(show_cell(cell, name in codes) for name, cell in zip(result.columns, row, strict=True))
        for row in result.rows
    ]
    lead = understood.rstrip(".")
    if claim and 0 < len(result.rows) <= MAX_LISTED_VALUES:
        answer: Any = _join([row[0] for row in shown_rows])
        several = len(result.rows) > 1
        text = f"{answer} {'have' if several else 'has'} {claim}: {shown_rows[0][1]}"
        text += " each" if several else ""
    elif not result.rows:
        text = f"{lead}: none." if lead else "The query returns no rows."
        answer = ""
    elif len(result.rows) == 1 and len(result.columns) == 1:
        answer = result.rows[0][0]
        shown = shown_rows[0][0] or "no value"
        text = f"{lead}: {shown}" if lead else shown
    elif len(result.rows) == 1 and lead:
        answer = result.rows[0][0]
        more = ", ".join(
            f"{name} {cell or 'not known'}" for name, cell in zip(result.columns[1:], shown_rows[0][1:], strict=True)
        )
        text = f"{lead}: {shown_rows[0][0]} ({more})"
    elif len(result.columns) == 1 and lead and len(result.rows) <= MAX_LISTED_VALUES and not result.truncated:
        answer = ", ".join(row[0] for row in shown_rows)
        text = f"{lead} ({len(result.rows)}): {answer}"
    else:
        answer = ", ".join(row[0] for row in shown_rows)
        rows = f"{len(result.rows):,}{' or more' if result.truncated else ''} row{'s' if len(result.rows) != 1 else ''}"
        text = (f"{lead} ({rows}):\n\n" if lead else "") + markdown_table(result, codes)
    return {
        "text": text,
        "answer": answer,
        "sql": sql,
        "understood": understood,
        "columns": list(result.columns),
        "rows": [list(row) for row in result.rows],
        "truncated": result.truncated,
        "sources": list(dict.fromkeys(files)),
    }


def markdown_table(result: TableResult, codes: Collection[str] = ()) -> str:
    """Return the first rows as a Markdown table."""
    lines = [_line(result.columns), _line(["---"] * len(result.columns))]
    are_codes = [name in codes for name in result.columns]
    lines += [_line(list(map(show_cell, row, are_codes))) for row in result.rows[:MAX_SHOWN_ROWS]]
    left = len(result.rows) - MAX_SHOWN_ROWS
    return "\n".join(lines) + (f"\n\n... and {left:,} more rows" if left > 0 else "")


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _join(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _without_file(question: str, file: str, named: Table | None) -> str:
    """The question with the table's name in the place of its file's: "the longest river in rivers"."""
    if named is None:
        return question
    names = sorted({file, file.rsplit("/", 1)[-1], named.file}, key=len, reverse=True)
    pattern = "|".join(re.escape(name) for name in names)
    return re.sub(rf"[\"']?(?:{pattern})[\"']?", named.name.replace("_", " "), question, flags=re.IGNORECASE)


# What is left of a question that asks for nothing in particular: "everything in", "the contents of the file".
_WHOLE = word_set(
    "list show read print display open load give me us everything all the whole full entire complete file table rows "
    "row entries lines contents content data in of from a what is are there please and it"
)


def _asks_for_everything(question: str, file: str, named: Table) -> bool:
    rest = split_words(_without_file(question, file, named))
    return set(rest) <= _WHOLE | set(split_words(named.name.replace("_", " ")))


def _files(tables: tuple[Table, ...]) -> str:
    return ", ".join(dict.fromkeys(table.file for table in tables)) or "none"
