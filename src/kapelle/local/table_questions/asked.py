"""Finds what a question asks for by its words, and which words say what its values and columns have to be.

Negation is of one value or one yes-or-no column.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kapelle.language import PIECE_WORDS, split_words

from .read import NOTHING, Mention, Unsure, Words
from .schema_links import LinkedTable, SchemaLinks, ValueLink
from .understood import Filter, Operand, Superlative, WantedColumn, take

BE = ("is", "are", "was", "were", "be")
ASKING = ("get", "find", "return", "give", "tell", "show", "list", "know")
HAVE = ("with", "have", "has", "having", "exactly")
_YES = ("yes", "y", "true", "ja", "oui", "si")
_LINKS = ("the", "of", "is", "a", "are")
_IS = Mention(text="is")


@dataclass
class Asked:
    """What was found so far; each way to ask for something adds its part."""

    links: SchemaLinks
    words: Words
    chosen: object = None
    """Which column, table or way to count is meant where several could be."""
    filters: list[Filter] = field(default_factory=list)
    negated: list[Mention] = field(default_factory=list)
    superlative: Superlative | None = None
    order: tuple[WantedColumn, str] | None = None
    """The column to sort by, and the direction."""
    aggregate: tuple[str, WantedColumn] | None = None
    group: WantedColumn | None = None
    counts: bool = False
    different: WantedColumn | None = None
    """The column whose different values are counted or listed."""
    asks_for_one_number: bool = False
    outputs: list[WantedColumn] = field(default_factory=list)
    values: list[tuple[Mention, str]] = field(default_factory=list)
    """With the preposition before each."""
    bound: dict[int, tuple[ValueLink, ...]] = field(default_factory=dict)
    """The values that the words beside a mention leave of those it may be, by its place."""

    def add_filter(self, wanted: WantedColumn | None, operator: str, *operands: Operand, unit: str = "") -> None:
        self.filters.append(Filter(wanted=wanted, operator=operator, operands=operands, unit=unit))


def find_all(asked: Asked) -> None:
    """Add all that the words ask for but the table; each finder leaves the words that it uses to no later one."""
    for find in (_find_adjectives, _find_negated, _find_periods, _find_order, _find_comparisons, _find_superlative):
        find(asked)
    for find in (_find_aggregate, _find_group, _find_count, _find_equal, _bind_values):
        find(asked)


def _find_adjectives(asked: Asked) -> None:
    """Tell "remote employees" and "employees who are remote" from the column, and a status from its column."""
    for mention in asked.words:
        if mention.table is not None or not mention.columns:
            continue
        before = asked.words.at(mention.place - 1)
        table = _described(asked, mention)
        describes, name = table is not None, table.name if table is not None else ""
        columns = tuple(column for column in mention.columns if column.table == name)
        values = tuple(link for link in mention.values if link.column.table == name)
        if columns or values:  # those of other tables are not meant
            mention.columns, mention.values = columns, values
        flags, is_before = mention.flags, asked.words.at(mention.place + 1).table is not None
        is_number = any(column.is_number or column.period for column in mention.columns)
        measures = is_number and not (is_before and not before.is_phrase("superlative", "aggregate", "per", "top"))
        if not mention.columns:
            continue
        if mention.values and flags and describes:
            raise Unsure(f"{mention.text!r} is the name of a column and a value. Say which column has it.")
        if mention.values:
            is_name = any(mention.word in split_words(column.name) for column in mention.columns)
            mention.columns = mention.columns if is_name and not describes else ()
            mention.values = mention.values if not mention.columns else ()
        elif flags and describes:
            is_so = not before.is_phrase("not")
            before.used, mention.used = before.used or not is_so, True
            asked.add_filter(WantedColumn(text=mention.text, columns=flags), "is", is_so)
        elif flags and not (before.is_phrase("per", "order") or _asks_for_cells(asked, mention)):
            raise Unsure(f"It is not clear what {mention.text!r} has to be. Say 'that are {mention.text}'.")
        elif describes and not before.values and not measures:
            raise Unsure(f"It is not clear what {mention.text!r} says here. Name a value of that column.")


def _asks_for_cells(asked: Asked, mention: Mention) -> bool:
    """Whether rows are named, or the question says what the column is, or that it wants to be shown columns."""
    shows = asked.words.at(mention.place + 1).word in (*BE, "=") or asked.words[0].word in ASKING
    shows = shows or any(one.is_phrase("and") for one in asked.words)
    links = (link for one in asked.words for link in one.values)
    return shows or any(link.column == asked.links.tables[link.column.table].label for link in links)


def _described(asked: Asked, mention: Mention) -> LinkedTable | None:
    """Return the table that the word stands before, or after with `are` between."""
    after = asked.words.at(mention.place + 1)
    if after.word in (*BE, "="):
        return None  # "where remote is yes"
    while after.table is None and (after.values or after.flags):
        after = asked.words.at(after.place + 1)
    before = asked.words.at(mention.place - 1)
    if before.is_phrase("not"):
        before = asked.words.at(before.place - 1) if not before.word.endswith(" t") else _IS
    if mention.flags:
        joined = asked.words.at(before.place - 1) if before.is_phrase("and") else before
        before = _IS if joined.values or (joined.used and joined is not NOTHING) else before
    tables = [one.table for one in asked.words[: before.place] if one.table is not None]
    follows = bool(tables) and (before.word in BE or before.is_phrase("verb", "not"))
    return after.table or (tables[-1] if follows else None)


def _find_negated(asked: Asked) -> None:
    for mention in (one for one in asked.words if one.is_phrase("not")):
        after = asked.words.past_filler(mention.place + 1)
        if any(one.is_phrase("and") for one in asked.words):
            raise Unsure(f"How far {mention.text!r} reaches beside 'and' or 'or' is not clear. Ask for each.")
        if not after.values and not mention.used:
            raise Unsure(f"It is not clear what {mention.text!r} leaves out. Name a value.")
        asked.negated += [after] if not mention.used else []
        mention.used = True


def _find_periods(asked: Asked) -> None:
    """Read dates and years with what stands before them: "hired in 2023", "since May 2024"."""
    for mention in asked.words:
        before = asked.words.at(mention.place - 1)
        operator = before.says if before.is_phrase("when") else "=" if before.word in ("in", "on") else ""
        if operator and mention.period and not mention.used and not asked.words.at(mention.place + 1).unit:
            take(before, mention)
            asked.add_filter(_dated(asked, before.place - 1), operator, *mention.period)


def _dated(asked: Asked, place: int) -> WantedColumn | None:
    """Return the column of dates that the words before a date name; None leaves it to the table."""
    near = asked.words.before_filler(place)
    dated = [one for one in asked.words if not one.used and any(column.period for column in one.columns)]
    found = [one for one in dated if one is near] or dated
    follows_table = any(one.table is not None for one in asked.words[: near.place])
    if near not in found and not near.table and not near.used and not asked.words.preposition(near) and follows_table:
        raise Unsure(f"No column holds when that was: {near.text!r}. Name a column of dates.")
    return take(found[0]) if len(found) == 1 else None


def _find_order(asked: Asked) -> None:
    for mention in asked.words.each("order"):
        column = asked.words.past_filler(mention.place + 1)
        if asked.order is not None or not column.columns:
            raise Unsure(f"It is not clear what {mention.text!r} sorts by. Name a column.")
        after = asked.words.past_filler(column.place + 1)
        direction = after.says if after.is_phrase("direction") else mention.says
        after.used = after.used or after.is_phrase("direction")
        asked.order = take(mention, column), direction


def _find_comparisons(asked: Asked) -> None:
    for mention in asked.words.each("compare"):
        is_after = mention.says.startswith("after ")  # "3 or more"
        number = asked.words.at(mention.place + (-1 if is_after else 1))
        if number.number is None or number.used:
            raise Unsure(f"{mention.text!r} must be followed by a number here.")
        first = mention.place - is_after
        wanted, unit = _compared(asked, mention, first, first + 2)
        take(mention, number)
        asked.add_filter(wanted, mention.says.removeprefix("after "), number.number, unit=unit)
    for mention in asked.words.each("between"):
        low, middle, high = (asked.words.at(mention.place + offset) for offset in (1, 2, 3))
        near, after = asked.words.before_filler(mention.place - 1), asked.words.at(mention.place + 4)
        is_amount = bool(after.unit) or (near.names_number and low.number is not None)
        if middle.is_phrase("and") and low.period and high.period and not is_amount:
            take(mention, low, middle, high)
            asked.add_filter(_dated(asked, mention.place - 1), "=", low.period[0], high.period[1])
            continue
        if low.number is None or high.number is None or not middle.is_phrase("and"):
            raise Unsure("'between' must be followed by two numbers here.")
        wanted, unit = _compared(asked, mention, mention.place, mention.place + 4)
        take(mention, low, middle, high)
        asked.add_filter(wanted, "between", low.number, high.number, unit=unit)


def _compared(asked: Asked, mention: Mention, first: int, after: int) -> tuple[WantedColumn, str]:
    """Return the column that a comparison speaks of: after its number, implied by its adjective, or before it."""
    following, before = asked.words.at(after), asked.words.before_filler(first - 1)
    if unit := following.unit:
        following.used = True
        following = asked.words.past_filler(after + 1)
    if following.columns and not following.table and not following.used:
        return take(following), unit
    if mention.phrase is not None and mention.phrase.concept:
        return WantedColumn(text=mention.text, concepts=frozenset(mention.phrase.concept.split()), unit=unit), unit
    if before.columns and not before.table and not before.used:
        return take(before), unit
    if unit:
        columns = (column for table in asked.links.tables.values() for column in table.columns)
        return WantedColumn(text=unit, columns=tuple(column for column in columns if column.unit == unit)), unit
    if before.table is not None and (
        asked.words.at(after - 1).period is None or asked.words.at(after - 1).text < "1900"
    ):
        return WantedColumn(text=mention.text, concepts=frozenset({"amount"})), unit
    raise Unsure(f"It is not clear what {mention.text!r} compares. Name the column.")


def _find_equal(asked: Asked) -> None:
    """Read numbers that a column must be: "with 2 children", "a stock of 0"."""
    for mention in asked.words:
        before, near = asked.words.at(mention.place - 1), asked.words.at(mention.place + 1)
        is_year = before.word == "of" and mention.period is not None and mention.text >= "1900"  # "sales of 2023"
        if mention.number is None or mention.used or is_year:
            continue
        if before.table is not None and not before.word.endswith("s"):  # "ticket 101"
            codes = tuple(column for column in before.table.columns if column.is_code and column.is_number)
            near = Mention(text=mention.text, columns=codes[:1] if len(codes) == 1 else ())
        elif before.word not in HAVE:
            near = asked.words.before_filler(before.place, among=(*BE, "of", "="))
            near = near if near.names_number or near.word in ("id", "number") else NOTHING
        if near.columns and not near.table and not near.used:
            unit = asked.words.at(mention.place + 1).unit
            asked.words.at(mention.place + 1).used |= bool(unit)
            asked.add_filter(take(mention, near), "=", mention.number, unit=unit)


def _find_superlative(asked: Asked) -> None:
    found = list(asked.words.each("superlative", "top"))
    if len(found) > 1 and found[0].is_phrase("top") and found[1].place == found[0].place + 2:
        found.pop(0).used = True  # "the top 5 longest rivers" are the 5 longest
    if len(found) > 1:
        raise Unsure("The question ranks by more than one thing. Ask for one at a time.")
    for mention in found:
        mention.used = True
        limit, wanted = _limit(asked, mention), _ranked_by(asked, mention)
        counted = asked.words.past_filler(mention.place + 1)
        if mention.is_phrase("top") and counted.number is not None:
            counted = asked.words.past_filler(counted.place + 1)
        if wanted is None and counted.table is None:
            raise Unsure(f"It is not clear what {mention.text!r} ranks by. Name a column of numbers.")
        if wanted is None and counted.table is not None and mention.is_phrase("top"):
            numbers = tuple(column for column in counted.table.columns if column.is_measure)
            wanted = WantedColumn(text=mention.text, columns=numbers) if len(numbers) == 1 else None
        if wanted is None and (pieces := _pieces(counted)):
            raise Unsure(f"{counted.text!r} could be counted or added up. Ask for the total {pieces} per ...")
        counted.used = counted.used or wanted is None
        asked.superlative = Superlative(direction=mention.says, wanted=wanted, limit=limit, counted=counted)


def _limit(asked: Asked, ranks: Mention) -> int | None:
    """Return the N of "top N", "N largest" or "which N countries"."""
    near = (ranks.place + 1, ranks.place - 1)
    for place in (ranks.place + 1,) if ranks.is_phrase("top") else (*near, *range(len(asked.words))):
        mention = asked.words.at(place)
        fits = place in near or asked.words.at(place + 1).table is not None
        number = mention.number if fits and not mention.used else None
        if number is not None and number == int(number) and 1 <= number <= 1000:
            mention.used = True
            return int(number)
    if ranks.is_phrase("top"):
        raise Unsure("'top' must be followed by a number here.")
    return None


def _ranked_by(asked: Asked, ranks: Mention) -> WantedColumn | None:
    assert ranks.phrase is not None
    concept = ranks.phrase.concept
    following = asked.words.at(ranks.place + 1)
    while following.number is not None or following.is_phrase("filler"):
        following = asked.words.at(following.place + 1)
    if following.is_phrase("aggregate"):
        raise Unsure(f"Ranking by a {following.text} is not understood. Ask for it per group.")
    before = asked.words.before_filler(ranks.place - 1)
    dates = [one for one in (following, before) if any(column.period for column in one.columns)]
    dates = dates if concept == "date" else []
    if following.names_number or following in dates:
        return take(following)
    if ((before.names_number and not concept) or before in dates) and not before.used and not following.table:
        return take(before)
    counts = following.table is not None and not concept
    for mention in asked.words[following.place if counts else ranks.place :]:
        column = asked.words.past_filler(mention.place + 1)
        if mention.is_phrase("per") and column.names_number:
            return take(mention, column)
    return WantedColumn(text=ranks.text, concepts=frozenset(concept.split())) if concept else None


def _find_aggregate(asked: Asked) -> None:
    for mention in asked.words.each("aggregate"):
        following = asked.words.past_filler(mention.place + 1)
        if following.is_phrase("count") and mention.says == "sum":
            mention.used = True  # "the total number of"
            continue
        if following.table is not None:
            after = asked.words.past_filler(following.place + 1)  # "average city population"
            own = following.columns and all(column.is_measure for column in following.columns)
            if own and not after.names_number:
                following.table = None  # "total sales" of a table that is called as its column
            following = after if following.table is not None else following
        if asked.aggregate is not None or not following.names_number:
            raise Unsure(f"It is not clear what the {mention.text} is of. Name a column of numbers.")
        asked.aggregate = mention.says, take(mention, following)


def _find_group(asked: Asked) -> None:
    asks = any(one.is_phrase("count", "aggregate", "superlative") for one in asked.words)
    for mention in asked.words.each("per"):
        following = asked.words.past_filler(mention.place + 1)
        is_by = mention.word == "by" and following.values and not following.columns
        is_by = is_by and asked.words.at(mention.place - 1).table is not None  # "tickets by Anna", not "opened by Anna"
        if is_by or (following.table is not None and not following.columns and not asks):
            mention.used = True  # "the salary of each employee"
            continue
        if asked.group is not None or not following.columns:
            raise Unsure(f"It is not clear what {mention.text!r} groups by. Name a column.")
        asked.group = take(mention, following)


def _find_count(asked: Asked) -> None:
    for mention in asked.words.each("how"):
        assert mention.phrase is not None
        mention.used = True
        asked.outputs.append(WantedColumn(text=mention.text, concepts=frozenset({mention.phrase.concept})))
    for mention in asked.words.each("count"):
        following = asked.words.past_filler(mention.place + 1)
        while not following.table and (following.values or (following.used and following is not NOTHING)):
            following = asked.words.past_filler(following.place + 1)
        mention.used = True
        if (pieces := _pieces(following)) and following.place > mention.place + 1:
            raise Unsure(f"{following.text!r} could be counted or added up. Ask for the total {pieces}.")
        if following.table is not None:
            asked.counts = True
            asked.chosen = mention.says or asked.chosen
        elif any(map(_pieces, asked.words)) and (following.values or following.columns):
            raise Unsure("Rows could be counted, or pieces added up. Ask for the number of rows, or for the total.")
        elif following.used or not following.columns or following.flags:
            raise Unsure(f"It is not clear what {mention.text!r} counts. Name a table.")
        elif following.names_number:
            asked.outputs.append(take(following))  # "how many people live in France" asks for a cell
            asked.asks_for_one_number = True
        elif any(one.column in following.columns for word in _YES for one in asked.links.values.get((word,), ())):
            raise Unsure(f"It is not clear what {mention.text!r} counts. Name a table.")
        else:
            asked.counts, asked.different = True, take(following)


def _bind_values(asked: Asked) -> None:
    """Let "the river Don", "the state of Texas" and "whose currency is Euro" say which column a value is of."""
    for mention in asked.words:
        if not mention.values:
            continue
        asked.values.append((mention, asked.words.preposition(mention)))
        for gap in (True, False):
            near = asked.words.at(mention.place + 1)
            if gap:
                near = asked.words.before_filler(mention.place - 1, among=_LINKS)
                near = asked.words.before_filler(near.place - 1, among=_LINKS) if near.is_phrase("not") else near
            if near.used or not (near.table or near.columns):
                continue
            skipped = asked.words[near.place + 1 : mention.place] if gap else []
            through_of = any(entry.word.endswith("of") for entry in skipped)
            fits = tuple(link for link in mention.values if link.column in near.columns and not through_of)
            if near.table is not None:
                fits = tuple(link for link in mention.values if link.column == near.table.label)
            if fits and len(fits) < len(mention.values) + (near.table is None or gap):
                tables = [one for one in asked.words if one.table is not None and not one.used]
                is_first = bool(tables) and tables[0] is near
                if is_first and not gap:
                    continue
                asked.bound[mention.place] = fits
                near.used = near.used or not is_first or len(tables) > 1
                break


def _pieces(mention: Mention) -> str:
    """The column that says how many pieces a row is of, where a verb names its table: "ordered", not "orders"."""
    columns = mention.table.columns if mention.table is not None and mention.word.endswith("ed") else ()
    return next((one.name for one in columns if one.is_measure and not PIECE_WORDS.isdisjoint(one.stems)), "")
