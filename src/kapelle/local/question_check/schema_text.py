"""Describes tables to whoever writes SQL for a question: what the question's words name comes first, all is bounded.

Values are quoted as JSON, and said to be data: a cell may hold any words, also such as sound like an order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from kapelle.errors import RefusedQuery
from kapelle.local.table_questions import LINKING_SECONDS, LinkedColumn, LinkedTable, SchemaLinks
from kapelle.tools import Tables, quote_name

from .asked_words import AskedQuestion
from .select_text import KEYWORDS

MAX_SCHEMA_CHARS = 6_000
MAX_COLUMNS_SHOWN = 30
"""Of one table."""
MAX_NAME_CHARS = 80
"""Longer names are left out: they would have to be written without a slip."""
SAMPLES = 3
MAX_SAMPLE_CHARS = 40
MAX_VALUES_NAMED = 8
MAX_JOINS_SHOWN = 20


def describe_schema(
    tables: Tables, links: SchemaLinks, question: str, *, values: Sequence[str] = (), only: str | None = None
) -> str:
    """Return the tables in words, at most MAX_SCHEMA_CHARS, and where the question's values stand in them.

    Args:
        values: Texts in the question that are data.
        only: The one table to describe; else those that the question's words name come first.
    """
    asked = AskedQuestion(question, links, values)
    found = _values_named(asked, values)
    hints = [f"{_quoted(value)} is a value of {_name(link.table)}.{_name(link.name)}" for value, link in found]
    end = "\n".join(["", "Values in the question:", *hints[:MAX_VALUES_NAMED]]) if hints else ""
    kept = [table for name, table in links.tables.items() if only in (None, name) and _is_short(name)]
    # As long as all fit, every question has the same tables in the same order: providers' prompt caches hold.
    if (whole := _fitting(tables, links, kept, None, MAX_SCHEMA_CHARS - len(end))) is not None:
        return whole + end
    wanted = set(asked.tables) | {table for table, _ in asked.columns} | {link.table for _, link in found}
    kept.sort(key=lambda table: (table.name not in asked.tables, table.name not in wanted))  # stable
    while kept:
        text = _fitting(tables, links, kept, asked, MAX_SCHEMA_CHARS - len(end))
        if text is not None:
            return text + end
        kept = kept[: len(kept) // 2]
    return end.lstrip()


def _fitting(
    tables: Tables, links: SchemaLinks, kept: Sequence[LinkedTable], asked: AskedQuestion | None, most: int
) -> str | None:
    """The tables in words; None where that is too long, or columns would have to be chosen and nothing says how."""
    if asked is None and any(len(table.columns) > MAX_COLUMNS_SHOWN for table in kept):
        return None
    parts: list[str] = []
    for table in kept:
        parts.append(_describe_table(tables, table, asked))
        if sum(map(len, parts)) > most:
            return None
    text = "\n".join([*parts, *_joins(links, {table.name for table in kept})])
    return text if len(text) <= most else None


def _describe_table(tables: Tables, table: LinkedTable, asked: AskedQuestion | None) -> str:
    columns = [column for column in table.columns if _is_short(column.name)]
    if asked is not None:
        columns.sort(key=lambda column: ((column.table, column.name) not in asked.columns, column != table.label))
    kept = {column.name for column in columns[:MAX_COLUMNS_SHOWN]}
    named = f", its rows are named by {_name(table.label.name)}" if table.label else ""
    repeats = "; a name may stand in several rows" if table.repeats else ""
    lines = [_describe_column(tables, column) for column in table.columns if column.name in kept]
    return "\n".join([f"Table {_name(table.name)}{named}{repeats}", *lines])


def _describe_column(tables: Tables, column: LinkedColumn) -> str:
    line = f"  {_name(column.name)} {column.kind}" + (f" in {column.unit}" if column.unit else "")
    if column.holds_lists:
        line += ", lists apart by '; '"
    if not column.is_number:
        samples = _samples(tables, column)
        line += f": {', '.join(map(_quoted, samples))}" if samples else ""
    return line


def _samples(tables: Tables, column: LinkedColumn) -> list[str]:
    name = quote_name(column.name)
    try:
        rows = tables.query(
            f"SELECT DISTINCT substr({name}, 1, {MAX_SAMPLE_CHARS}) FROM {quote_name(column.table)} "  # noqa: S608
            f"WHERE {name} IS NOT NULL LIMIT {SAMPLES}",
            timeout_s=LINKING_SECONDS,
        ).rows
    except RefusedQuery:
        return []
    return [str(row[0]) for row in rows]


def _values_named(asked: AskedQuestion, values: Sequence[str]) -> list[tuple[str, LinkedColumn]]:
    found: dict[tuple[str, str, str], tuple[str, LinkedColumn]] = {}
    spans = sorted((span for span in asked.spans if span.values), key=lambda span: -len(span.words))
    given = [link for value in values for link in asked.links.values.get(tuple(value.casefold().split()), ())]
    for link in [*given, *(link for span in spans for link in asked.links.values.get(span.words, ()))]:
        found.setdefault((link.value, link.column.table, link.column.name), (link.value, link.column))
    return list(found.values())


def _joins(links: SchemaLinks, shown: set[str]) -> Iterable[str]:
    names = [
        (f"{_name(one.table)}.{_name(one.name)}", one.table) for join in links.joins for one in (join.column, join.to)
    ]
    pairs = {tuple(sorted(pair)) for pair in zip(names[::2], names[1::2], strict=True)}
    known = sorted(pair for pair in pairs if {table for _, table in pair} <= shown)
    for (one, _), (two, _) in known[:MAX_JOINS_SHOWN]:
        yield f"{one} = {two} joins them"


def _is_short(name: str) -> bool:
    return len(name) <= MAX_NAME_CHARS and name.isprintable()


def _name(name: str) -> str:
    plain = name.isidentifier() and name.isascii() and name.lower() not in KEYWORDS
    return name if plain else quote_name(name)


def _quoted(value: str) -> str:
    return json.dumps(value[:MAX_SAMPLE_CHARS], ensure_ascii=False)
