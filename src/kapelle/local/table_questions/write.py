"""Writes what was understood: one SELECT, and a sentence that says how the question was understood."""

from __future__ import annotations

from dataclasses import replace

from kapelle.language import fits_verb
from kapelle.tools import quote_name

from .conditions import choose, find_conditions
from .rank import write_group, write_superlative
from .read import Unsure
from .understood import Cell, TablePlan, Understood, candidates
from .writing import AGGREGATE_NAMES, Found, Writing, value_condition, where_sql, where_words

_PARTICIPLES = ("living", "working", "based", "located", "situated", "found", "spoken", "used")


def write_plan(meant: Understood) -> TablePlan:
    """Return what was understood as SQL.

    Raises:
        Unsure: it cannot be written without a guess, or a verb fits nothing that was used.
    """
    writing = Writing(meant=meant)
    plan = _write(writing)
    _account_for_verbs(writing, plan)
    return plan


def _write(writing: Writing) -> TablePlan:
    meant = writing.meant
    writing.read.add(meant.target.name)
    if meant.group is not None:
        return write_group(writing, meant.group)
    found = find_conditions(writing)
    asked = [meant.order, meant.superlative, meant.aggregate, meant.counts]
    if sum(map(bool, asked)) > 1 or (meant.outputs and (meant.aggregate or meant.counts)):
        raise Unsure("The question asks for more than one thing. Ask for one at a time.")
    if meant.superlative is not None:
        return write_superlative(writing, meant.superlative, found)
    if meant.aggregate is not None:
        function, column, label = meant.aggregate[0], writing.measure(*meant.aggregate), meant.target.label
        name, what = quote_name(column.name), f"the {AGGREGATE_NAMES[function]} of {column.name} over"
        if meant.chosen == "different" and label is not None:
            inner = f"SELECT DISTINCT {quote_name(label.name)}, {name} FROM {quote_name(meant.target.name)}"  # noqa: S608
            once = f"{what} {meant.target.name}, each {label.name} once{where_words(found)}"
            return writing.planned(f"SELECT {function}({name}) FROM ({inner}{where_sql(found)})", once)  # noqa: S608
        return writing.done(f"{function}({name})", found, f"{what} all rows of" if meant.chosen == "rows" else what)
    if meant.different is not None:
        column = writing.own(meant.different)
        name = quote_name(column.name)
        if column.holds_lists:
            raise Unsure(f"Cells of {column.name!r} hold several values each. Send SQL.")
        if meant.counts:
            return writing.done(f"count(DISTINCT {name})", found, f"how many different {column.name} in")
        found = [*found, (f"{name} IS NOT NULL", "")]
        return writing.done(f"DISTINCT {name}", found, f"the different known {column.name} in", " ORDER BY 1")
    if (linked := _through_link(writing, found)) is not None:
        return linked
    if meant.counts:
        return writing.done(writing.counted(), found, "how many")
    return _write_rows(writing, found)


def _through_link(writing: Writing, found: Found) -> TablePlan | None:
    """Answer from a link table where it alone holds the things asked for.

    `river_countries` knows more countries of the Danube than the table of countries has rows.
    """
    meant = writing.meant
    label = meant.target.label
    if label is None or len(meant.values) != 1 or meant.outputs or meant.filters or meant.negated or meant.order:
        return None
    links, join = choose(writing, *meant.values[0])
    if join is None or join.to_one or join.column != label or len(meant.links.tables[join.to.table].columns) != 2:
        return None
    writing.read = {join.to.table}
    name, ending = quote_name(label.name), f", as {join.to.table} has it"
    found = [(f"{value_condition(links)} AND {quote_name(join.to.name)} IS NOT NULL", where_words(found)[7:])]
    if meant.counts:
        return writing.done(f"count(DISTINCT {name})", found, "how many", "", ending, join.to.table)
    return writing.done(f"DISTINCT {name}", found, "the", " ORDER BY 1", ending, join.to.table)


def _write_rows(writing: Writing, found: Found) -> TablePlan:
    meant = writing.meant
    label = meant.target.label
    columns = list(dict.fromkeys(writing.own(wanted) for wanted in meant.outputs))
    if label is None:
        raise Unsure(f"The table {meant.target.name!r} has no column that names its rows. Send SQL.")
    if not columns and not found and meant.order is None and not meant.words.asks_to_list():
        raise Unsure("It is not clear what is asked for. Name a column, or say 'list'.")
    writing.used.append(label)
    cell = None
    if len(columns) == 1 and len(meant.values) == 1 and not meant.filters and not meant.negated:
        links, join = choose(writing, *meant.values[0])
        if join is None and links[0].column == label and not label.holds_lists and len(links) == 1:
            cell = Cell(table=meant.target.name, label=label.name, value=links[0].value, column=columns[0].name)
    if meant.asks_for_one_number and (cell is None or meant.target.may_repeat):
        raise Unsure(f"That could be one number for each of several {meant.target.name!r}. Ask for the total.")
    tail = sorting = ""
    if meant.order is not None:
        by = writing.own(meant.order[0])
        columns = list(dict.fromkeys([*columns, by]))
        tail = f" ORDER BY {quote_name(by.name)} {meant.order[1].upper()}, {quote_name(label.name)}"
        sorting = f", sorted by {by.name}" + (", largest first" if meant.order[1] == "desc" else "")
    is_one = any(one.operator == "=" and one.wanted and label in one.wanted.columns for one in meant.filters)
    shown = columns if cell is not None or (is_one and columns) else list(dict.fromkeys([label, *columns]))
    distinct = "DISTINCT " if meant.target.repeats or (meant.target.may_repeat and shown == [label]) else ""
    select = distinct + ", ".join(quote_name(column.name) for column in shown)
    what = "the " + " and ".join(column.name for column in shown) + " of" if shown != [label] else "the"
    return replace(writing.done(select, found, what, tail, sorting), cell=cell)


def _account_for_verbs(writing: Writing, plan: TablePlan) -> None:
    """Refuse verbs and question words that fit nothing that was used: "who live in Sales" has no place."""
    meant = writing.meant
    stems = {stem for column in writing.used for stem in (*column.stems, *column.concepts)}
    stems |= {stem for name in writing.read for stem in meant.links.tables[name].stems}
    for mention in meant.words.each("verb"):
        assert mention.phrase is not None
        several = mention.says == "several" and len(meant.values) > 1
        after = meant.words.at(mention.place + 1)
        after = meant.words.at(after.place + 1) if after.word in ("has", "have", "had", "did") else after
        asked = [one for wanted in meant.outputs for one in candidates(wanted, meant.target, meant.chosen)]
        said = [one for one in asked if plan.cell is not None or (one in after.columns and not after.table)]
        if any(not fits_verb(mention.phrase, (*one.stems, *one.concepts)) for one in said):
            raise Unsure(f"{said[0].name!r} does not say {mention.text!r}. Ask for what a column holds.")
        if mention.word == "when" and not (meant.values or meant.superlative):
            raise Unsure("It is not clear of which row 'when' asks. Name it.")
        adjective = mention.word in _PARTICIPLES and meant.words.at(mention.place + 1).table is not None
        if adjective or (not several and not fits_verb(mention.phrase, stems)):
            raise Unsure(f"No column of {meant.target.name!r} that was used answers to {mention.text!r}. Name one.")
