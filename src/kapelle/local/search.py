"""Looks things up in a folder: an exact cell of a table first, then a sentence of a document, with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kapelle.agents import AgentResult, TaskContext, call_in_thread
from kapelle.errors import CannotAnswer, RefusedQuery
from kapelle.graph import Task
from kapelle.knowledge import FolderIndex, FoundAnswer, Passage, find_answer, unsaid_words
from kapelle.language import quote_text, split_words, word_set
from kapelle.tools import Tables, quote_name, quote_value

from .folder import find_left_out, left_out, name_left_out
from .inputs import find_data, read_text, require_text, show_cell
from .sql import choose_reading, describe_result
from .table_questions import NotUnderstood, Row, TablePlan, TableQuestions

_ASKED = ("query", "question", "request")
PASSAGES = 8
READ_PASSAGES = 40
"""So many are read for an answer, so that one that disagrees is not missed for being further down."""
MAX_NAMESAKES = 5
"""Rows of one name that are shown side by side; with more, the name is none."""
MAX_READ_CHARS = 4_000
MAX_LISTED_ROWS = 100


class FolderSearchAgent:
    """Answers the input `query` from the tables and documents of a folder; the input `file` keeps to one document.

    The output holds `text`, `answer` (the bare value or sentence), `understood`, `passages`, `sources`, and for a cell
    of a table `fact` (subject, attribute, value, unit). For a bare name that is a row of a table, the answer is the
    name and `facts` are of that row. Where two places say different things, the answer is both, with their places. A
    `lookup` needs an answer; `search` and `research` are content with passages, and call them that.
    """

    def __init__(
        self,
        index: FolderIndex,
        *,
        tables: Tables | None = None,
        questions: TableQuestions | None = None,
        attended: bool = False,
    ) -> None:
        self._index = index
        self._tables = tables
        self._questions = questions
        self._attended = attended

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        """Look it up; see the class.

        Raises:
            CannotAnswer: nothing that fits is in the folder, or the tables are asked in several ways: its `readings`.
            AskPerson: which of them is meant, where somebody is there to say.
        """
        return await call_in_thread(self.answer, task, context)

    def answer(self, task: Task, context: TaskContext) -> AgentResult:
        """Do what `run` does, at once."""
        query = require_text(task, *_ASKED)
        file = read_text(task, "file")
        if file:
            return AgentResult(output=self._from_file(query, file, task.task_type), cost_usd=0.0)
        data = find_data(task, context, *_ASKED)
        output = self._from_chosen(query, data, context) or self._from_folder(query, task.task_type, data)
        return AgentResult(output=output, cost_usd=0.0)

    def _from_chosen(self, query: str, data: Sequence[str], context: TaskContext) -> dict[str, Any] | None:
        """Answer from the tables where they can be asked in several ways, as whoever asks has chosen."""
        plan = self._questions.plan(query, values=data) if self._questions is not None else None
        if not isinstance(plan, NotUnderstood) or not plan.readings:
            return None
        chosen = choose_reading(query, plan.readings, context, attended=self._attended)
        exact = self._from_cell(chosen) if chosen.cell is not None else None
        return exact or self._from_tables(chosen, or_none=True)

    def _from_folder(self, query: str, task_type: str, data: Sequence[str]) -> dict[str, Any]:
        plan = self._questions.plan(query, values=data) if self._questions is not None else None
        passages = self._index.search(query, limit=READ_PASSAGES)
        said = self._from_passages(query, passages)
        if isinstance(plan, TablePlan):
            known = (self._from_cell(plan) if plan.cell is not None else None) or self._from_tables(plan)
            if known is not None:
                return known if said is None else _side_by_side(known, said)
        row = self._questions.find_row(query) if self._questions is not None else None
        if row is not None and (known := self._from_row(row)) is not None:
            return _described(known, said) if said is not None else known
        if said is not None:
            return said
        if task_type in ("search", "research") and (about := _hold_all(query, passages)):
            return _only_passages(query, about)
        raise CannotAnswer(self._not_found(query, passages, plan))

    def _from_cell(self, plan: TablePlan) -> dict[str, Any] | None:
        """The cell that is asked for; of each row, where several have the name and not the same in it."""
        cell = plan.cell
        assert cell is not None
        rows = self._rows_of(Row(table=cell.table, label=cell.label, value=cell.value), [cell.column])
        found = [(facts[0], place) for facts, place in rows if facts]
        if not found or len(rows) > MAX_NAMESAKES:
            return None
        fact, places = found[0][0], list(dict.fromkeys(place for _, place in found))
        about = f"{_upper_first(fact['attribute'])} of {cell.value}"
        output = {"understood": plan.understood, "sql": plan.sql, "passages": [], "sources": places}
        if len(rows) == 1 or (len(found) == len(rows) and all(one == fact for one, _ in found)):
            text = f"{about}: {_show_fact(fact)} ({', '.join(places)})"
            return {"text": text, "answer": fact["value"], "fact": fact, **output}
        values = " or ".join(f"{_show_fact(one)} ({place})" for one, place in found)
        text = f"{len(rows)} rows are called {cell.value!r}. {about}: {values}"
        return {"text": text, "answer": text, "facts": [one for one, _ in found], **output}

    def _from_row(self, row: Row) -> dict[str, Any] | None:
        assert self._tables is not None
        table = next(table for table in self._tables.tables if table.name == row.table)
        rows = self._rows_of(row, [column.name for column in table.columns if column.name != row.label])
        if len(rows) != 1 or not rows[0][0]:
            return None
        facts, place = rows[0]
        listed = "; ".join(f"{fact['attribute']} {_show_fact(fact)}" for fact in facts)
        return {
            "text": f"{row.value}: {listed} ({place})",
            "answer": row.value,
            "facts": facts,
            "understood": f"The row {row.value!r} of {table.file}.",
            "passages": [],
            "sources": [place],
        }

    def _rows_of(self, row: Row, columns: Sequence[str]) -> list[tuple[list[dict[str, Any]], str]]:
        """Return the filled cells of these columns and where they stand, for each row that has the name."""
        assert self._tables is not None
        table = next(table for table in self._tables.tables if table.name == row.table)
        sql = (
            f"SELECT rowid, {', '.join(map(quote_name, columns))} FROM {quote_name(row.table)} "  # noqa: S608 - quoted
            f"WHERE {quote_name(row.label)} = {quote_value(row.value)}"
        )
        try:
            rows = self._tables.query(sql, max_rows=MAX_NAMESAKES + 1).rows
        except RefusedQuery:  # a view of an SQLite file may have no row numbers
            rows = self._tables.query(sql.replace("rowid,", "NULL,", 1), max_rows=MAX_NAMESAKES + 1).rows
        codes = self._questions.codes() if self._questions is not None else ()
        found = []
        for number, *values in rows:
            place = table.file if number is None else self._tables.place_of(row.table, number)
            facts = []
            for column, value in zip(columns, values, strict=True):
                name, unit = _name_and_unit(column)
                fact = {"subject": row.value, "attribute": name, "value": value, "unit": unit}
                if value is not None:
                    facts.append({**fact, "is_code": True} if column in codes else fact)
            found.append((facts, place))
        return found

    def _from_passages(self, query: str, passages: tuple[Passage, ...]) -> dict[str, Any] | None:
        found = find_answer(query, passages)
        if found is None:
            return None
        output = {
            "understood": f"Sentences about {quote_text(query)} in {', '.join(_files((found, *found.others)))}.",
            "passages": [_as_json(passage) for passage in passages[:PASSAGES]],
            "sources": list(dict.fromkeys(one.citation for one in (found, *found.others))),
        }
        if not found.others:
            return {"text": _show_sentence(found), "answer": found.value, **output}
        listed = "\n".join(f"- {_show_sentence(one)}" for one in (found, *found.others))
        text = f"The documents say different things:\n{listed}"
        return {"text": text, "answer": text, **output}

    def _from_tables(self, plan: TablePlan, *, or_none: bool = False) -> dict[str, Any] | None:
        """List what the tables hold; that it is nothing is an answer with `or_none` only."""
        assert self._tables is not None
        result = self._tables.query(plan.sql, max_rows=MAX_LISTED_ROWS)
        if not result.rows and not or_none:
            return None
        files = [table.file for table in self._tables.tables if table.name in plan.tables]
        codes = self._questions.codes() if self._questions is not None else ()
        told = describe_result(result, plan.sql, plan.understood, files, claim=plan.claim, codes=codes)
        return {**told, "passages": []}

    def _from_file(self, query: str, file: str, task_type: str) -> dict[str, Any]:
        passages = self._index.passages_of(file)
        if not passages:
            skipped = left_out(self._index, self._tables)
            if (found := find_left_out(file, skipped)) is not None:
                raise CannotAnswer(f"The file {found.file!r} was left out: {found.reason}.")
            raise CannotAnswer(
                f"There is no document {quote_text(file)} in the folder. Check the name.{name_left_out(skipped)}"
            )
        asked = query.replace(file, " ")
        if set(split_words(asked)) - _READING:
            said = self._from_passages(asked.strip(), passages)
            about = _hold_all(asked.strip(), passages) if task_type != "lookup" else ()
            if said is None and not about:
                raise CannotAnswer(self._not_found(asked.strip(), passages, None))
            return said or _only_passages(asked.strip(), about)
        text = "\n\n".join(passage.text for passage in passages)
        cut = text[:MAX_READ_CHARS] + (" ..." if len(text) > MAX_READ_CHARS else "")
        return {
            "text": cut,
            "answer": cut,
            "understood": f"The text of {passages[0].file}.",
            "passages": [_as_json(passage) for passage in passages],
            "sources": [passages[0].file],
        }

    def _not_found(self, query: str, passages: tuple[Passage, ...], plan: object) -> str:
        has_tables = self._tables is not None and bool(self._tables.tables)
        tables = f" {plan.reason}" if has_tables and isinstance(plan, NotUnderstood) else ""
        if isinstance(plan, TablePlan):
            tables = f" {plan.understood.removesuffix('.')}: none."
        missing = name_left_out(left_out(self._index, self._tables))
        nowhere = [word for word in unsaid_words(query, ()) if not self._index.search(word, limit=1)]
        documents = f" No document has {_quoted(nowhere)}." if nowhere and self._index.files else ""
        near = ""
        if passages and len(nowhere) < len(unsaid_words(query, ())):
            nearest = min(passages, key=lambda passage: len(unsaid_words(query, [passage])))
            unsaid = [word for word in unsaid_words(query, [nearest]) if word not in nowhere]
            words = "the other words" if nowhere else "these words"
            lacks = f"lacks {_quoted(unsaid)}" if unsaid else f"has {words}, but no sentence there says this"
            near = f" The nearest passage, {nearest.citation}, {lacks}."
        return (
            f"Nothing in the folder answers {quote_text(query)}.{tables}{documents}{near}{missing} "
            f"Ask in the words of the {'documents' if self._index.files else 'tables'}, add one that says it, or "
            "configure a model (KAPELLE_MODEL)."
        )


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(quote_text(word) for word in words[:5]) + (" and more" if len(words) > 5 else "")


def _files(answers: Sequence[FoundAnswer | Passage]) -> list[str]:
    return list(dict.fromkeys(answer.file for answer in answers))


def _show_sentence(found: FoundAnswer) -> str:
    subject = found.subject if found.subject.casefold() not in found.sentence.casefold() else ""
    return (f"{subject}: " if subject else "") + f"{found.sentence} ({found.citation})"


def _side_by_side(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """What a table says, with the sentence of a document where that says something else."""
    rows = known.get("rows", [[known["answer"]]])
    if len(rows) != 1 or "facts" in known or _says_value(said["text"], rows[0][0]):
        return known
    text = f"The table and the documents say different things:\n- {known['text']}\n- {said['text']}"
    sources = list(dict.fromkeys([*known["sources"], *said["sources"]]))
    both = {name: value for name, value in known.items() if name != "fact"}
    return {**both, "text": text, "answer": text, "passages": said["passages"], "sources": sources}


_FIGURE = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?: (?P<scale>thousand|million|billion))?")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
ROUNDED = 0.02
"""Two figures that differ by less are the same one, rounded: "about 68 million" and 68,250,000."""


def _says_value(text: str, value: Any) -> bool:
    if isinstance(value, (int, float)):
        figures = (
            float(found[0].split()[0].replace(",", "")) * _SCALES.get(found["scale"], 1)
            for found in _FIGURE.finditer(text)
        )
        return any(abs(figure - value) <= ROUNDED * abs(value) for figure in figures)
    return set(split_words(str(value))) <= set(split_words(text))


def _described(known: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A row's facts, after a sentence that says what the thing is; other sentences about it are left out."""
    name = re.escape(known["answer"])
    if not re.match(rf"(?:The )?{name} (?:is|was) (?:an?|the|one)\b", said["text"], re.IGNORECASE):
        return known
    return {
        **known,
        "text": f"{said['text']} {known['text']}",
        "passages": said["passages"],
        "sources": [*said["sources"], *known["sources"]],
    }


def _show_fact(fact: Mapping[str, Any]) -> str:
    return show_cell(fact["value"], fact.get("is_code", False)) + (f" {fact['unit']}" if fact["unit"] else "")


def _hold_all(query: str, passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
    """The passages that hold every word of a search: one that holds some is about something else as often as not."""
    return tuple(passage for passage in passages if not unsaid_words(query, [passage]))


def _only_passages(query: str, passages: tuple[Passage, ...]) -> dict[str, Any]:
    lines = [f"- {' '.join(passage.text.split())} ({passage.citation})" for passage in passages[:3]]
    text = "\n".join(
        [f"Passages that hold the words of {quote_text(query)}; none of them was found to answer it:", *lines]
    )
    return {
        "text": text,
        "answer": text,
        "understood": f"Passages that hold the words of {quote_text(query)} in {', '.join(_files(passages[:3]))}.",
        "passages": [_as_json(passage) for passage in passages[:PASSAGES]],
        "sources": [passage.citation for passage in passages[:3]],
    }


def _as_json(passage: Passage) -> dict[str, Any]:
    lines = f"{passage.first_line}-{passage.last_line}"
    return {"file": passage.file, "lines": lines, "text": passage.text, "score": passage.score}


# What is left of a request to read a file when its name is taken out.
_READING = word_set(
    "read open show me the whole full text contents content of from in what does is it say says file document and"
)

_UNITS = {
    "km2": "km²",
    "m2": "m²",
    "km": "km",
    "m": "m",
    "kg": "kg",
    "usd": "USD",
    "eur": "EUR",
    "chf": "CHF",
    "mi": "mi",
    "ft": "ft",
}


def _name_and_unit(column: str) -> tuple[str, str]:
    name, _, last = column.rpartition("_")
    if name and last in _UNITS:
        return name.replace("_", " "), _UNITS[last]
    return column.replace("_", " "), ""


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
