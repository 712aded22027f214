"""Numbers, dates and identifiers in a text, in one form: `5k`, `5,000` and `five thousand` are the same number.

What stands inside a word or an address (`A5b9`, `192.168.1.1`, `COVID-19`) is an identifier, and is the same only when
it is spelled the same.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from typing import Literal

from .words import NUMBER_WORDS

Kind = Literal["number", "date", "identifier"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """One number, date or identifier of a text."""

    kind: Kind
    value: str
    """What makes it the same as another: `5000`, `08-15`, `a5b9`."""
    year: str | None = None
    """Of a date, where it is said."""
    start: int
    end: int
    is_word: bool = False
    """Whether it is written out: "three" is often no number that anyone has to keep."""

    def is_among(self, others: frozenset[tuple[str, str, str | None]]) -> bool:
        """Whether one of these keys means the same."""
        if self.kind == "date":
            return any(
                kind == "date" and value == self.value and (year is None or self.year in (None, year))
                for kind, value, year in others
            )
        return (self.kind, self.value, None) in others

    @property
    def keys(self) -> tuple[tuple[str, str, str | None], ...]:
        """What it stands for where it covers others: a date also for its day and its year."""
        if self.kind != "date":
            return ((self.kind, self.value, None),)
        day = self.value.partition("-")[2].lstrip("0")
        year = (("number", self.year, None),) if self.year else ()
        return (("date", self.value, self.year), ("number", day, None), *year)


_MONTHS = [name.lower() for name in list(calendar.month_abbr)[1:]]
_MONTH = r"(?P<{}>" + "|".join(list(calendar.month_name)[1:] + _MONTHS) + r"|sept)\.?"
_DATE = re.compile(
    r"(?<![\w.])(?:"
    r"(?P<y1>\d{4})-(?P<m1>\d{1,2})-(?P<d1>\d{1,2})(?![\w-])"
    rf"|{_MONTH.format('m2')}\s+(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?(?:\s*,?\s+(?P<y2>\d{{4}}))?(?!\w)"
    rf"|(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH.format('m3')}(?:\s*,?\s+(?P<y3>\d{{4}}))?(?!\w)"
    r"|(?P<m4>\d{1,2})/(?P<d4>\d{1,2})/(?P<y4>\d{4})(?!\w)"
    r")",
    re.IGNORECASE,
)
_SCALES = {"k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "b": 9, "bn": 9, "billion": 9, "trillion": 12}
_NUMBER = re.compile(
    r"(?<![\w.])(?<!\d,)(?<![^\W\d_]-)(?<!\d[:/])[-−]?(?P<digits>\d{1,3}(?:,\d{3})+|\d{1,40})(?P<part>\.\d{1,40})?"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion|bn|mn|k|m|b)(?![\w])|(?:st|nd|rd|th|s|x)(?!\w))?"
    r"(?P<unit>%|°?[CF](?!\w)|(?:km|cm|mm|kg|kb|mb|gb|tb|mph|ml|lb|lbs|oz|ft|hrs?|mins?|secs?|gb|nm|hz|ghz|mhz|am|pm)(?!\w))?"
    r"(?![\w]|[.,]\d|[-:/]\d)",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(
    r"(?:https?://|www\.)[^\s'\"<>]{1,300}|[\w.+-]{1,64}@[\w.-]{1,200}"
    r"|(?<![\w.])(?<!\d,)(?=[\w./:-]{0,60}\d)\w[\w./:-]{0,120}\w(?!\w|,\d)"
    r"|\b\w[\w-]{0,60}\.(?:txt|csv|json|xml|md|pdf|html?|py|sql|xlsx?|docx?|png|jpe?g|log|ya?ml|mov|mp[34])\b",
    re.IGNORECASE,
)
_WORDS = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "once": 1, "twice": 2, "half": 50}
_WORDS |= NUMBER_WORDS
_WORD = re.compile(r"\b(?:" + "|".join(_WORDS) + r")(?:[\s-](?:" + "|".join(_WORDS) + r"))*\b", re.IGNORECASE)


def find_quantities(text: str) -> tuple[Quantity, ...]:
    """Return the numbers, dates and identifiers of a text, in order.

    >>> [one.value for one in find_quantities("$5k by August 15, 2024 for room A12, 2.50 each")]
    ['5000', '08-15', 'a12', '2.5']
    """
    found: list[Quantity] = []
    taken = bytearray(len(text))

    def take(kind: Kind, value: str, start: int, end: int, **more: str | bool | None) -> None:
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            found.append(Quantity(kind=kind, value=value, start=start, end=end, **more))  # type: ignore[arg-type]  # `more` are fields

    for match in _DATE.finditer(text):
        year, month, day = (
            next((match[f"{name}{form}"] for form in "1234" if match.groupdict().get(f"{name}{form}")), None)
            for name in "ymd"
        )
        assert month is not None
        assert day is not None
        number = int(month) if month.isdigit() else _MONTHS.index(month.lower()[:3]) + 1
        if 1 <= number <= 12 and 1 <= int(day) <= 31:
            take("date", f"{number:02}-{int(day):02}", match.start(), match.end(), year=year)
    for match in _NUMBER.finditer(text):
        take("number", _plain_number(match), match.start(), match.end())
    for match in _IDENTIFIER.finditer(text):
        take("identifier", match[0].casefold().strip("'\".,"), match.start(), match.end())
    for match in _WORD.finditer(text):
        take("number", str(_spelled_number(match[0])), match.start(), match.end(), is_word=True)
    return tuple(sorted(found, key=lambda one: one.start))


def _plain_number(match: re.Match[str]) -> str:
    digits = match["digits"].replace(",", "").lstrip("0") or "0"
    part = (match["part"] or "").rstrip("0").rstrip(".")[1:]
    exponent = _SCALES.get((match["scale"] or "").lower(), 0)
    if exponent:
        digits, part = digits + part[:exponent].ljust(exponent, "0"), part[exponent:]
        digits = digits.lstrip("0") or "0"
    return f"{digits}.{part}" if part else digits


def _spelled_number(words: str) -> int:
    total = current = 0
    for word in re.split(r"[\s-]", words.lower()):
        value = _WORDS[word]
        if value >= 1000:
            total, current = total + max(current, 1) * value, 0
        elif value == 100:
            current = max(current, 1) * 100
        else:
            current += value
    return total + current
