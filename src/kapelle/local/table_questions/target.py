"""Finds the table that a question is about: it names it, or only one table has all that it speaks of."""

from __future__ import annotations

from kapelle.language import fits_verb

from .asked import ASKING, BE, HAVE, Asked
from .read import NOTHING, Mention, Unsure
from .schema_links import LinkedTable, ValueLink
from .understood import WantedColumn, candidates, take


def find_target(asked: Asked) -> LinkedTable:
    tables = [mention for mention in asked.words if mention.table is not None and not mention.used]
    ranks = asked.superlative
    if ranks is not None and ranks.wanted is None and ranks.counted.table is not None:
        if len(tables) != 1 or not tables[0].columns:
            tables = [mention for mention in asked.words if mention.columns and not mention.used]
        if len(tables) != 1:
            raise Unsure("It is not clear what is ranked. Name a column: 'which continent has the most ...'.")
        asked.group, target = take(tables[0]), ranks.counted.table
    elif tables:
        assert tables[0].table is not None
        joins = any(mention.is_phrase("and") for mention in asked.words)
        if joins and sum(one.table == tables[0].table for one in tables) > 1:
            raise Unsure(f"{tables[0].table.name!r} is named twice, each time of other rows. Ask for each apart.")
        target, tables[0].used = tables[0].table, True
    for mention in asked.words:
        is_left = mention.word in ("a", "an") and asked.words.at(mention.place + 1) is NOTHING
        is_left |= mention.word in ASKING and any(map(_is_data, asked.words[: mention.place]))
        if mention.used or (mention.is_phrase("filler", "and", "verb") and not is_left) or mention.values:
            continue
        before = asked.words.at(mention.place - 1)
        if before.columns and mention.columns and not (before.table or mention.table):
            raise Unsure(f"No column is called '{before.text} {mention.text}'. Say which of the two.")
        if mention.table is not None and (not tables or mention.table == target):
            mention.used = True
        elif mention.columns and not _is_condition(asked, mention):
            _check_beside(asked, mention)
            asked.outputs.append(take(mention))
        else:
            raise Unsure(f"It is not clear what {mention.text!r} means here. Ask more simply.")
    if len(asked.outputs) > 1 and not any(mention.is_phrase("and") for mention in asked.words):
        said = " and ".join(repr(wanted.text) for wanted in asked.outputs)
        raise Unsure(f"How {said} belong together is not clear. Ask for one at a time, or join them by 'and'.")
    if not tables:
        if len(asked.outputs) == 1 and not asked.values and _lists_texts(asked) and asked.words.asks_to_list():
            asked.different = asked.outputs.pop()
        if asked.outputs and (asked.superlative is not None or not asked.values):
            raise Unsure("The question names no table. Say what things you want to know that of.")
        target = _infer_target(asked)
    return target


def _check_beside(asked: Asked, mention: Mention) -> None:
    """Refuse a value of another column beside one that holds none such: "low satisfaction" is no low priority."""
    before, after = asked.words.at(mention.place - 1), asked.words.at(mention.place + 1)
    lead = asked.words.at(before.place - 1)
    lead = asked.words.at(lead.place - 1) if lead.word in ("a", "an") else lead
    after = asked.words.past_filler(after.place) if after.word in (*BE, "=") else after
    says_how = lead.word in HAVE or asked.words.at(mention.place + 1).table is not None
    for value in [before] * says_how + [after]:
        names_row = any(link.column == asked.links.tables[link.column.table].label for link in value.values)
        if value.values and not names_row and all(link.column not in mention.columns for link in value.values):
            raise Unsure(f"No {mention.text!r} is {value.text!r}. Say what it has to be, or leave one of them out.")


def _is_condition(asked: Asked, mention: Mention) -> bool:
    """Whether a column is not asked for, but says something of rows: "in stock", "with a manager", "grade A"."""
    before, after = asked.words.at(mention.place - 1), asked.words.at(mention.place + 1)
    before = asked.words.at(before.place - 1) if before.word in ("a", "an") else before
    is_last, is_first = after is NOTHING or after.is_phrase("filler"), before.place == 0
    return is_last and not is_first and before.word in (*HAVE, "in", "on", "at", "within", "from")


def _infer_target(asked: Asked) -> LinkedTable:
    tables = asked.links.tables.values()
    ranked = asked.superlative.wanted if asked.superlative is not None else None
    aggregated, ordered = asked.aggregate[1] if asked.aggregate else None, asked.order[0] if asked.order else None
    said = [*asked.outputs, aggregated, ordered, ranked, asked.group, asked.different]
    said += [one.wanted for one in asked.filters if isinstance(one.operands[0], float)]
    wanted = [one for one in (*said, *(one.wanted for one in asked.filters)) if one is not None]
    who = next(asked.words.each("verb"), NOTHING).phrase
    if not any(said) and who is not None and (asked.values or asked.filters):
        people = (one for one in tables if one.label and fits_verb(who, one.label.stems + one.stems))
        wanted += [WantedColumn(text="who", columns=tuple(one.label for one in people if one.label))]
        said = [*wanted]
    if not any(said):
        raise Unsure("The question names no table and no column. Say what you want to know of which table.")
    fitting = [table for table in tables if all(candidates(one, table, asked.chosen) for one in wanted)]
    if asked.values:
        found = [asked.bound.get(mention.place, mention.values) for mention, _ in asked.values]
        hold = [one for one in fitting if all(any(link.column.table == one.name for link in links) for links in found)]
        named = [[any(_names_row(link, one) for link in links) for links in found] for one in hold]
        labelled = [one for one, names in zip(hold, named, strict=True) if all(names)]
        labelled = labelled or [one for one, names in zip(hold, named, strict=True) if any(names)]  # "Ada in Maths"
        labelled = labelled or (hold if _lists_texts(asked) else [])
        if not labelled and asked.outputs and not (asked.aggregate or asked.group):
            raise Unsure("No row of a table with that column has that name. Name the table, or send SQL.")
        fitting = labelled or fitting
    fitting = [table for table in fitting if table is asked.chosen] or fitting
    if len(fitting) != 1:
        names = " or ".join(repr(table.name) for table in fitting)
        unsaid = f"The question could be about {names}. Say which." if fitting else "No table has all of that."
        raise Unsure(unsaid, fitting)
    return fitting[0]


def _lists_texts(asked: Asked) -> bool:
    """Whether the question asks for several texts: "capitals of Europe". The numbers of Europe would be its own."""
    return bool(asked.outputs) and all(
        wanted.text.lower().endswith("s") and wanted.columns and not any(one.is_number for one in wanted.columns)
        for wanted in asked.outputs
    )


def _is_data(mention: Mention) -> bool:
    return bool(mention.table or mention.columns or mention.values)


def _names_row(link: ValueLink, table: LinkedTable) -> bool:
    return link.column == table.label or (link.column.is_code and link.column.table == table.name)
