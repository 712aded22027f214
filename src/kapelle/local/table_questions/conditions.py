"""Finds the conditions of a question: which column each value and number is of, and by which join it is reached.

Filters through another table are written as `key IN (SELECT ...)`, so that no join counts a row twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from kapelle.language import DATE_WORDS, plain
from kapelle.tools import quote_name, quote_value

from .read import Mention, Unsure
from .schema_links import Join, LinkedColumn, ValueLink
from .understood import Filter
from .writing import Found, Writing, value_condition


def find_conditions(writing: Writing) -> Found:
    """Return the conditions of the question, each as SQL and as words."""
    meant = writing.meant
    found: Found = []
    chosen: dict[LinkedColumn, list[ValueLink]] = {}
    ways: dict[LinkedColumn, Join | None] = {}
    columns: dict[int, LinkedColumn] = {}
    for mention, preposition in meant.values:
        links, join = choose(writing, mention, preposition)
        column = columns[mention.place] = links[0].column
        if not any(mention is one for one in meant.negated):
            chosen.setdefault(column, []).extend(links)
            ways[column] = join
        elif join is not None or column.holds_lists or meant.target.repeats or meant.target.may_repeat:
            raise Unsure(f"Rows without {mention.text!r} cannot be told. Say what to include, or send SQL.")
        else:
            condition = f"({quote_name(column.name)} IS NULL OR NOT {value_condition(links)})"
            said = " or ".join(repr(link.value) for link in links)
            found.append((condition, f"{column.name} is not {said} (or is empty)"))
    _check_joined(writing, [(one, ways[one]) for one, links in chosen.items() if _differ(links)], columns)
    for column, links in chosen.items():
        condition, join, where = value_condition(links), ways[column], column.name
        if join is not None:
            writing.read.add(join.to.table)
            key_name, source = quote_name(join.to.name), quote_name(join.to.table)
            inner = f"SELECT {key_name} FROM {source} WHERE {condition}"  # noqa: S608 - all quoted
            condition, where = f"{quote_name(join.column.name)} IN ({inner})", f"{where} in {column.table}"
        said = " or ".join(repr(link.value) for link in links)
        found.append((condition, f"{where} {'has' if column.holds_lists else 'is'} {said}"))
    for one in meant.filters:
        column = writing.own(one.wanted) if one.wanted is not None else _only_dates(writing)
        found.append(_filter_condition(column, one))
    return found


def _check_joined(
    writing: Writing, several: list[tuple[LinkedColumn, Join | None]], columns: dict[int, LinkedColumn]
) -> None:
    """Refuse "or" that joins no values of one column, and "and" between values that may mean both at once."""
    meant = writing.meant
    said = [mention.word for mention in meant.words if mention.is_phrase("and")]
    for mention in meant.words:
        near = meant.words.before_filler(mention.place - 1), meant.words.past_filler(mention.place + 1)
        first, second = (columns.get(one.place) for one in near)
        if mention.word == "or" and (first is None or first != second):
            raise Unsure("'or' is understood between two values of one column only. Ask for each.")
    for column, join in several:
        if not said:
            raise Unsure("Two values of one column must be joined by 'and' or 'or'.")
        both = column.holds_lists or join is not None or meant.target.repeats or meant.target.may_repeat
        if ("and" in said and both) or ("both" in said and column != meant.target.label):
            raise Unsure("Whether 'and' means both at once or either is not clear. Say 'or', or ask for each.")


def _only_dates(writing: Writing) -> LinkedColumn:
    meant = writing.meant
    dates = [column for column in meant.target.columns if column.period]
    dates = [column for column in dates if column is meant.chosen] or dates
    names = " or ".join(repr(column.name) for column in dates) or "nothing: no column holds dates"
    is_sure = len(dates) == 1 and (DATE_WORDS.issuperset(dates[0].stems) or dates[0] is meant.chosen)
    if not is_sure:
        raise Unsure(f"The date could be that of {names}. Say which.", dates)
    writing.used.append(dates[0])
    return dates[0]


def choose(writing: Writing, mention: Mention, preposition: str) -> tuple[list[ValueLink], Join | None]:
    meant = writing.meant
    links = meant.bound.get(mention.place, mention.values)
    own = [link for link in links if link.column.table == meant.target.name]
    own = [link for link in own if link.column is meant.chosen] or own
    columns = list(dict.fromkeys(link.column for link in own))
    labels = [link for link in own if link.column == meant.target.label]
    is_negated = any(mention is one for one in meant.negated)
    if len(columns) > 1:
        others = [link for link in own if link.column != meant.target.label]
        inside = preposition.split(" ")[-1] in ("in", "within", "from", "through") or not _asks_of_rows(writing)
        own = others if others and inside and preposition not in ("called", "named") else labels or others
        if meant.target.may_repeat or is_negated or not labels or len({link.column for link in own}) > 1:
            names = " or ".join(repr(column.name) for column in columns)
            raise Unsure(f"{mention.text!r} could be the {names}. Say which.", columns)
    if own and own[0].column == meant.target.label and not _asks_of_rows(writing) and not is_negated:
        raise Unsure(f"It is not clear what is asked about {mention.text!r}. Name a column.")
    if _differ(own):
        raise Unsure(f"{mention.text!r} could be {' or '.join(repr(link.value) for link in own)}. Say which.")
    if own:
        writing.used.append(own[0].column)
        return own, None
    reached = [
        (link, join)
        for link in links
        if (join := meant.links.join(meant.target.name, link.column.table)) is not None
        and _relates(writing, link, join)
    ]
    # A link table that holds the value itself is nearer than a table about the value.
    direct = [(link, join) for link, join in reached if not join.to_one] or reached
    if len({(link.column, link.value) for link, _ in direct}) != 1:
        raise Unsure(f"It is not clear how {mention.text!r} belongs to {meant.target.name!r}.")
    writing.used += [direct[0][0].column, direct[0][1].column]
    return [direct[0][0]], direct[0][1]


def _asks_of_rows(writing: Writing) -> bool:
    """Whether the question asks for something of rows that it names, rather than for rows."""
    meant = writing.meant
    return meant.superlative is None and not meant.counts and bool(meant.outputs or meant.aggregate)


def _relates(writing: Writing, link: ValueLink, join: Join) -> bool:
    """Whether the other table says of what ours belongs to (the continent of a city's country), or links both."""
    meant = writing.meant
    table, back = meant.links.tables[link.column.table], meant.links.join(join.to.table, join.column.table)
    describes = join.to_one and (back is None or not back.to_one)
    return describes or len(table.columns) == 2 or link.column == table.label


def _differ(links: Sequence[ValueLink]) -> bool:
    return len({plain(link.value) for link in links}) > 1


def _filter_condition(column: LinkedColumn, condition: Filter) -> tuple[str, str]:
    """Return what a column must be, as SQL and as words."""
    name, operator, first = quote_name(column.name), condition.operator, condition.operands[0]
    if isinstance(first, bool):
        value = column.flag[not first]
        flag = f"{name} = {value}" if column.is_number else f"lower({name}) = {quote_value(value)}"
        return flag, f"{column.name} is {value!r}"
    shown = [f"{one:.15g}" if isinstance(one, float) else str(one) for one in condition.operands]
    if isinstance(first, str):
        if not column.period or (column.period == "year" and not all(day.endswith("-01-01") for day in shown)):
            raise Unsure(f"{column.name!r} holds {'years' if column.period else 'no dates'}. Ask for something else.")
        low, high = (quote_value(day) if column.period == "date" else day[:4] for day in shown)
        bounds = {"=": (f">= {low}", f"< {high}"), ">": (f">= {high}",), "<": (f"< {low}",), ">=": (f">= {low}",)}
        parts = bounds[operator]
        return " AND ".join(f"{name} {part}" for part in parts), f"{column.name} {' and '.join(parts)}"
    if not column.is_number:
        raise Unsure(f"{column.name!r} holds no numbers to compare.")
    if condition.unit and condition.unit != column.unit:
        known = f"in {column.unit}" if column.unit else "without a unit"
        raise Unsure(f"{column.name!r} is {known}, and the question says {condition.unit}. Convert it first.")
    if operator == "between":
        return f"{name} BETWEEN {shown[0]} AND {shown[1]}", f"{column.name} is between {shown[0]} and {shown[1]}"
    return f"{name} {operator} {shown[0]}", f"{column.name} {operator} {shown[0]}"
