"""Reads one cell as a number: signs, currencies, units, marks for thousands; or says that it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Mark = Literal[".", ","]

MAX_NUMBER_CHARS = 40
MAX_DIGITS = 18
"""SQLite keeps integers up to 2**63 exactly."""
PHONE_DIGITS = 10
MISSING = frozenset(
    [
        "n/a",
        "na",
        "n.a.",
        "n.a",
        "#n/a",
        "#na",
        "nan",
        "null",
        "none",
        "nil",
        "\\n",
        "-",
        "--",
        "---",
        "–",
        "—",
        "?",
        "??",
        ".",
        "..",
        "...",
        "…",
        "unknown",
        "missing",
        "tbd",
        "tba",
        "k.a.",
        "k.",
        "a.",
        "#div/0!",
        "#ref!",
        "#value!",
        "#name?",
        "#num!",
        "#null!",
        "(null)",
        "<na>",
        "(none)",
        "not-available",
    ]
) | {"not available", "no data", "not known", "keine angabe", "k. a.", "n. a.", "not applicable", "unbekannt"}
"""What people and programs write where a number is missing; in lower case."""
_CURRENCY = r"[$€£¥₹₽₩]|(?:US|A|C|NZ|HK)\$|USD|EUR|CHF|GBP|JPY|INR|SEK|NOK|DKK|PLN|CZK|AUD|CAD|CNY|BRL|Fr\.|Rs\.?|kr"

_MEASURES = (
    r"kg|g|mg|lbs?|oz|km|m|cm|mm|mi|ft|in|yd|ha|km²|km2|m²|m2|m³|m3|l|L|ml|mL|cl|hl|gal|%|‰|°|°C|°F|h|hrs?|min|"
    r"sec|ms|days?|weeks?|months?|years?|yrs?|pcs?|Stk\.?|Stück|kWh|MWh|kW|MW|Hz|kHz|MHz|GHz|KB|kB|MB|GB|TB|"
    r"km/h|mph|m/s|bar|Pa|hPa|kPa|kJ|kcal|cal|°N|°S|°E|°W|k|K|M|B|mn|mio|Mio\.?|bn|Mrd\.?|\"|''|″|"
    r"(?<=\s)[tsdxVAWNJ]"  # 12A may be a code; 12 A is none
)

_SPACES = " \u00a0\u2009\u202f"
_NUMBER = re.compile(
    rf"(?P<open>\()?[{_SPACES}]?(?P<sign>[-+−–])?[{_SPACES}]?(?P<before>{_CURRENCY})?[{_SPACES}]?(?P<minus>[-−])?"
    rf"(?P<body>[.,]?\d(?:[\d.,'’{_SPACES}]*\d)?)(?P<exponent>[eE][-+]?\d{{1,3}})?"
    rf"[{_SPACES}]?(?P<after>{_CURRENCY}|{_MEASURES})?(?P<trailing>[-−])?[{_SPACES}]?(?P<close>\))?"
)

# What a body can be with a decimal point, and with a decimal comma. Groups are of one sign throughout.
_WITH_POINT = re.compile(
    r"(?:\d+|[1-9]\d{0,2}(?:(?P<group>[,' ])\d{3})(?:(?P=group)\d{3})*|[1-9]\d?(?:,\d\d)+,\d{3})?(?:\.\d+)?"
)

_WITH_COMMA = re.compile(r"(?:\d+|[1-9]\d{0,2}(?:(?P<group>[.' ])\d{3})(?:(?P=group)\d{3})*)?(?:,\d+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberCell:
    """What one cell can mean."""

    text: str
    """Its digits and marks, the sign in front; nothing else."""
    marks: str
    """The decimal marks with which it can be read, `.`, `,` or both."""
    differs: bool = False
    """Whether it depends on the mark which number it is."""
    unit: str = ""
    exponent: str = ""
    code: str = ""
    """Why it may be a code and no number at all; empty if nothing speaks for that."""

    def value(self, mark: Mark) -> int | float:
        """Return the number; an integer where it has no decimals."""
        groups = str.maketrans("", "", "' ," if mark == "." else "' .")
        text = self.text.translate(groups).replace(",", ".") + self.exponent
        return int(text) if text.lstrip("-").isdigit() else float(text)


def read_number(cell: str) -> NumberCell | None:
    """Return what a cell means as a number; None if it is none.

    >>> read_number("(1,200)").value("."), read_number("1.234,5").marks, read_number("about 5")
    (-1200, ',', None)
    """
    if len(cell) > MAX_NUMBER_CHARS or (found := _NUMBER.fullmatch(cell)) is None:
        return None
    body = re.sub(rf"[{_SPACES}]", " ", found["body"]).replace("’", "'")
    with_point, with_comma = _WITH_POINT.fullmatch(body) is not None, _WITH_COMMA.fullmatch(body) is not None
    signs = [found["sign"], found["minus"], found["trailing"], found["open"]]
    if not (with_point or with_comma) or bool(found["open"]) != bool(found["close"]) or sum(map(bool, signs)) > 1:
        return None
    before, after = found["before"] or "", found["after"] or ""
    if before and after and before != after:
        return None
    digits = re.sub(r"\D", "", body)
    exponent = found["exponent"] or ""
    code = ""
    if len(body) > 1 and body[0] == "0" and body[1] not in ".,":
        code = "begins with a zero"
    elif exponent and body.isdigit() and exponent[1] not in "+-":
        code = "may be a code or a number with an exponent"
    elif (found["sign"] == "+" and (len(digits) >= PHONE_DIGITS or " " in body)) or (
        " " in body and len(digits) >= PHONE_DIGITS - 1
    ):
        code = "may be a telephone number"
    elif len(digits) > MAX_DIGITS and body.isdigit():
        code = f"has more than {MAX_DIGITS} digits"
    marks = ("." if with_point else "") + ("," if with_comma else "")
    is_negative = any(sign in ("-", "−", "–", "(") for sign in signs if sign)
    return NumberCell(
        text="-" * is_negative + body,
        marks=marks,
        differs=with_point and with_comma and ("." in body or "," in body),
        unit=before or after,
        exponent=exponent,
        code=code,
    )
