"""Writes what ranks rows or groups them. Rows and groups that share a place are all shown."""

from __future__ import annotations

from kapelle.tools import quote_name

from .conditions import find_conditions
from .read import Unsure
from .schema_links import Join, LinkedColumn
from .understood import Superlative, TablePlan, WantedColumn
from .writing import AGGREGATE_NAMES, Found, Writing, where_sql, where_words


def write_superlative(writing: Writing, ranks: Superlative, found: Found) -> TablePlan:
    meant = writing.meant
    assert ranks.wanted is not None
    column, label = writing.own(ranks.wanted), meant.target.label
    if not (column.is_measure or column.period) or label is None:
        raise Unsure(f"{column.name!r} holds no numbers to rank by.")
    writing.used.append(label)
    columns = list(dict.fromkeys([label, *(writing.own(wanted) for wanted in meant.outputs), column]))
    distinct = "DISTINCT " if meant.target.repeats else ""
    if ranks.limit is None and meant.outputs:  # what is asked for comes first: "the capital of the largest country"
        columns.append(columns.pop(0)) if label not in map(writing.own, meant.outputs) else None
    select = distinct + ", ".join(quote_name(one.name) for one in columns)
    name, source = quote_name(column.name), quote_name(meant.target.name)
    first, last, operator = ("max", "min", ">=") if ranks.direction == "desc" else ("min", "max", "<=")
    most = "largest" if ranks.direction == "desc" else "smallest"
    if ranks.limit is None:  # rows that share the first place are all of them first
        inner = f"SELECT {first}({name}) FROM {source}{where_sql(found)}"  # noqa: S608 - quoted
        asked = " and ".join(writing.own(wanted).name for wanted in meant.outputs)
        what = f"the {asked}{asked and ' with the '}{most} {column.name} among"
        return writing.done(select, [*found, (f"{name} = ({inner})", "")], what)
    # Those that share the last place are all of them shown.
    known = where_sql([*found, (f"{name} IS NOT NULL", "")])
    order = f" ORDER BY {name} {ranks.direction.upper()}"
    inner = f"SELECT {distinct}{quote_name(label.name)}, {name} AS n FROM {source}{known}{order} LIMIT {ranks.limit}"  # noqa: S608
    among = [*found, (f"{name} {operator} (SELECT {last}(n) FROM ({inner}))", "")]  # noqa: S608 - quoted
    what = f"the {ranks.limit} with the {most} {column.name}, and who equals the last, among"
    return writing.done(select, among, what, f"{order}, {quote_name(label.name)}")


def write_group(writing: Writing, group: WantedColumn) -> TablePlan:
    meant = writing.meant
    ranks = meant.superlative
    counts = meant.counts or (ranks is not None and ranks.wanted is None)
    if meant.outputs or meant.order or counts == (meant.aggregate is not None):
        raise Unsure("A group can be counted, summed or averaged. Say which.")
    column, join = _group_column(writing, group)
    is_listed = any(one.column == column and one.to_one for one in meant.links.joins)
    if (join is not None or is_listed) and ranks is not None and ranks.direction == "asc":
        raise Unsure("Groups without any are not in the tables, so the fewest cannot be told. Ask for the most.")
    found = find_conditions(writing)
    name, source = quote_name(column.name), quote_name(meant.target.name)
    if meant.aggregate is not None:
        function, measured = meant.aggregate[0], writing.measure(*meant.aggregate)
        value, alias = f"{function}({{t}}{quote_name(measured.name)})", f"{function}_{measured.name}"
        what = f"{AGGREGATE_NAMES[function]} of {measured.name}"
        if join is not None and not join.to_one:  # a sum over groups would count some things twice
            raise Unsure(f"{meant.target.name!r} stand in several groups of {column.name!r} each. Send SQL.")
    else:
        value, what, alias = writing.counted("{t}"), "number", "count"
    if join is None:
        select = f"{name}, {value.format(t='')} AS {quote_name(alias)}"
        where = where_sql([*found, (f"{name} IS NOT NULL", "")])
        text = f"SELECT {select} FROM {source}{where} GROUP BY {name}"  # noqa: S608 - all quoted
    else:
        writing.read.add(join.to.table)
        counted = value.format(t="a.")
        if not join.to_one and meant.target.label is not None:
            counted = f"count(DISTINCT a.{quote_name(meant.target.label.name)})"
        inner = f"SELECT * FROM {source}{where_sql(found)}"  # noqa: S608 - quoted
        text = (
            f"SELECT b.{name}, {counted} AS {quote_name(alias)} FROM ({inner}) AS a "  # noqa: S608 - quoted
            f"JOIN {quote_name(join.to.table)} AS b "
            f"ON a.{quote_name(join.column.name)} = b.{quote_name(join.to.name)} GROUP BY b.{name}"
        )
    where_said = where_words(found)
    said = f"the {what} of {meant.target.name} for each known {column.name}{where_said and ','}{where_said}"
    if ranks is None:
        return writing.planned(f"{text} ORDER BY 1", said)
    if ranks.wanted is not None:
        raise Unsure("Ranking within groups is not understood. Ask for one group at a time.")
    first = ranks.direction == "desc"
    most = "largest" if first else "smallest"
    if ranks.limit is not None:
        order = f"{quote_name(alias)} {ranks.direction.upper()}, 1 LIMIT {ranks.limit}"
        return writing.planned(f"{text} ORDER BY {order}", f"{said}, {most} first, {ranks.limit} of them")
    # Groups that share the first place are all of them first.
    inner = f"SELECT {'max' if first else 'min'}({quote_name(alias)}) FROM groups"  # noqa: S608 - quoted
    text = f"WITH groups AS ({text}) SELECT * FROM groups WHERE {quote_name(alias)} = ({inner})"  # noqa: S608
    said += f", only the {most} {alias}"
    return writing.planned(text, said, claim=f"the {'most' if first else 'fewest'} {ranks.counted.text}{where_said}")


def _group_column(writing: Writing, wanted: WantedColumn) -> tuple[LinkedColumn, Join | None]:
    meant = writing.meant
    own = writing.column(wanted, meant.target)
    if own is not None and not own.holds_lists:
        writing.used.append(own)
        return own, None
    reached = [
        (column, join)
        for column in wanted.columns
        if (join := meant.links.join(meant.target.name, column.table)) is not None and not column.holds_lists
    ]
    near = [(column, join) for column, join in reached if not join.to_one] or reached
    if len(near) != 1:
        raise Unsure(f"It is not clear which column {wanted.text!r} is for {meant.target.name!r}.")
    return near[0]
