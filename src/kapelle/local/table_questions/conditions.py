"""Conditions on rows, as SQL and as words. Knows nothing of how a question says them."""

from __future__ import annotations

from collections.abc import Sequence

from kapelle.tools import quote_name, quote_value

from .schema_links import ValueLink

Found = list[tuple[str, str]]
"""Conditions as SQL and as words; without words where others say it already."""


def where_sql(found: Found) -> str:
    """Return the WHERE of a statement; empty without conditions."""
    return f" WHERE {' AND '.join(sql for sql, _ in found)}" if found else ""


def where_words(found: Found) -> str:
    """Return the conditions in words."""
    return f" where {' and '.join(words)}" if (words := [words for _, words in found if words]) else ""


def value_condition(links: Sequence[ValueLink]) -> str:
    """Return what a column must be to have one of these values."""
    column = links[0].column
    name = quote_name(column.name)
    if column.holds_lists:
        parts = [f"instr('; ' || {name} || ';', {quote_value(f'; {link.value};')}) > 0" for link in links]
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"
    if len(links) == 1:
        return f"{name} = {quote_value(links[0].value)}"
    return f"{name} IN ({', '.join(quote_value(link.value) for link in links)})"
