"""What an answer to a request over examples/atlas has to say, computed from the folder's files when it is asked.

Reads the tables with Python's `csv` into SQLite and the notes as sentences: nothing of kapelle, whose answers are
judged by it. It is strict about figures and about which is whose, and lenient about words and order:

- each row of a `facts` query has to stand together: its figures and names near the name that the row begins with,
  nearer than that of another row;
- of an `only` query, no other name of its universe may stand in the answer;
- what a note says (`said`) has to be there: its figures, or at least `SAID_SHARE` of its words.
"""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

SAID_SHARE = 0.6
"""Of a sentence's longer words: a definition may be reworded."""
ROUNDED = 0.01
"""A figure that is given rounded may be off by half of its last digit, and by no more than this share of it."""

_PER_CONTINENT = "SELECT continent, sum(area_km2) FROM countries GROUP BY continent"
_POPULATIONS = "SELECT country, population FROM countries WHERE country IN ('France', 'Germany')"
_CAPITAL_OF_BRAZIL = (
    "SELECT cities.population FROM cities JOIN countries ON city = capital WHERE countries.country = 'Brazil'"
)
_IN_GERMANY = "FROM rivers JOIN river_countries USING (river) WHERE country = 'Germany'"
_FOUR = "country IN ('France', 'Germany', 'Italy', 'Spain')"
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_NUMBER = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:[,\u00a0\u202f ]\d{3})+|\d+)(\.\d+)?(?![\w]|[.,]\d)(?:\s*(thousand|million|billion)\b)?",
    re.IGNORECASE,
)
_CITED = re.compile(r"\(?\b[\w./-]+\.(?:csv|md)(?::\d+(?:-\d+)?)?\)?")
_SOURCES = re.compile(r"^#+ Sources\b.*", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What an answer has to say. Queries are SQL over the folder's tables, each named as its file."""

    facts: tuple[str, ...] = ()
    only: tuple[tuple[str, str], ...] = ()
    """Pairs of queries: the names that belong, and all of which these are some."""
    said: tuple[tuple[str, ...], ...] = ()
    """Words that the sentence of a note has, which has to be told."""


TRUTHS: Mapping[str, Truth] = MappingProxyType(
    {
        "What is the capital of Japan?": Truth(
            facts=("SELECT capital FROM countries WHERE country = 'Japan'",),
            only=(("SELECT capital FROM countries WHERE country = 'Japan'", "SELECT capital FROM countries"),),
        ),
        "Compare the population of France and Germany": Truth(facts=(_POPULATIONS,)),
        "Compare the capitals of France and Germany": Truth(
            facts=("SELECT country, capital FROM countries WHERE country IN ('France', 'Germany')",)
        ),
        "the capitals of countries where continent is Europe": Truth(
            facts=("SELECT country, capital FROM countries WHERE continent = 'Europe'",)
        ),
        "What is the population of the capital of Brazil?": Truth(facts=(_CAPITAL_OF_BRAZIL,)),
        "What is the total area of countries per continent?": Truth(facts=(_PER_CONTINENT,)),
        "Which rivers longer than 1000 km are in Germany?": Truth(
            only=((f"SELECT river {_IN_GERMANY} AND length_km > 1000", "SELECT river FROM rivers"),)
        ),
        "How many rivers are longer than 2000 km, and what is the average population of countries in Europe?": Truth(
            facts=(
                "SELECT count(*) FROM rivers WHERE length_km > 2000",
                "SELECT avg(population) FROM countries WHERE continent = 'Europe'",
            )
        ),
        "When was the Suez Canal opened?": Truth(said=(("Suez Canal", "opened"),)),
        "Look up the length of the Danube, list the countries on the Danube, look up what an estuary is, then write a "
        "report on the Danube": Truth(
            facts=("SELECT length_km FROM rivers WHERE river = 'Danube'",),
            only=(
                (
                    "SELECT country FROM river_countries WHERE river = 'Danube'",
                    "SELECT country FROM countries UNION SELECT country FROM river_countries",
                ),
            ),
            said=(("An estuary is",),),
        ),
        "Find the area of Spain and the area of Italy, compare them, then write a report": Truth(
            facts=("SELECT country, area_km2 FROM countries WHERE country IN ('Spain', 'Italy')",)
        ),
        "For each of Peru, Chile and Brazil, find its capital; then write a report": Truth(
            facts=("SELECT country, capital FROM countries WHERE country IN ('Peru', 'Chile', 'Brazil')",)
        ),
        "For each country in South America, find its capital and its area; then write a report": Truth(
            facts=("SELECT country, capital, area_km2 FROM countries WHERE continent = 'South America'",)
        ),
        "For each of France, Germany, Italy and Spain, find its capital and its population; then write a report": Truth(
            facts=(f"SELECT country, capital, population FROM countries WHERE {_FOUR}",)
        ),
        "Find the longest river in Germany and its length. Compare the populations of France and Germany. What is the "
        "total area of countries per continent? Finally write a report": Truth(
            facts=(
                f"SELECT river, length_km {_IN_GERMANY} ORDER BY length_km DESC LIMIT 1",
                _POPULATIONS,
                _PER_CONTINENT,
            )
        ),
    }
)
"""By request, without its full stop."""


class Folder:
    """The files of examples/atlas/data, as truth is computed from them."""

    def __init__(self, path: Path) -> None:
        self._tables = sqlite3.connect(":memory:")
        for file in sorted(path.glob("*.csv")):
            with file.open(encoding="utf-8", newline="") as text:
                header, *rows = csv.reader(text)
            columns = ", ".join(f'"{name}" NUMERIC' for name in header)
            self._tables.execute(f'CREATE TABLE "{file.stem}" ({columns})')
            marks = ", ".join("?" * len(header))
            self._tables.executemany(f'INSERT INTO "{file.stem}" VALUES ({marks})', rows)
        notes = [file.read_text("utf-8") for file in sorted(path.glob("notes/*.md"))]
        self._sentences = [
            " ".join(sentence.split())
            for note in notes
            for sentence in re.split(r"(?<=[.!?;])\s+(?=[A-Z])|\n\s*\n|(?<=\.)\n", note)
        ]

    def is_right(self, request: str, answer: str) -> bool | None:
        """Whether an answer says what the folder's data say; None for a request whose truth is not known."""
        truth = TRUTHS.get(request.strip().rstrip("."))
        if truth is None:
            return None
        text = _CITED.sub(" ", _SOURCES.sub("", answer))
        return (
            all(_stands(rows, text) for rows in map(self._ask, truth.facts))
            and all(self._holds_only(belong, universe, text) for belong, universe in truth.only)
            and all(self._tells(words, text) for words in truth.said)
        )

    def _ask(self, query: str) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = self._tables.execute(query).fetchall()
        assert rows, query
        return rows

    def _holds_only(self, belong: str, universe: str, text: str) -> bool:
        wanted = {str(name) for (name,) in self._ask(belong)}
        every = {str(name) for (name,) in self._ask(universe)} | wanted
        return {name for name in every if _find(name, text)} == wanted

    def _tells(self, words: Sequence[str], text: str) -> bool:
        sentences = [one for one in self._sentences if all(word in one for word in words)]
        assert sentences, words
        return any(_is_told(sentence, text) for sentence in sentences)


def read_numbers(text: str) -> Iterator[tuple[float, float]]:
    """Yield the numbers in a text, each with how far a rounded one may be off: `84.5 million` gives 84.5e6, 50,000."""
    for match in _NUMBER.finditer(text):
        whole, fraction, scale = match.groups()
        factor = _SCALES[scale.lower()] if scale else 1.0
        value = float(re.sub(r"\D", "", whole) + (fraction or "")) * factor
        step = 10.0 ** -(len(fraction) - 1 if fraction else 0) * factor
        yield value, min(0.5 * step, ROUNDED * value)


def _stands(rows: Sequence[tuple[object, ...]], text: str) -> bool:
    """Whether each row stands together."""
    if len(rows[0]) == 1:
        return all(_holds(row, text) for row in rows)
    names = [str(row[0]) for row in rows]
    starts = {name: _find(name, text) for name in names}
    edges = sorted(at for found in starts.values() for at in found)
    for name, *values in rows:
        at_name = starts[str(name)]
        after = (text[at : next((edge for edge in edges if edge > at), len(text))] for at in at_name)
        before = (text[max((edge for edge in edges if edge < at), default=0) : at] for at in at_name)
        if not any(_holds(values, part) for parts in (after, before) for part in parts):
            return False
    return True


def _holds(values: Iterable[object], text: str) -> bool:
    return all(
        any(abs(number - value) <= slack for number, slack in read_numbers(text))
        if isinstance(value, (int, float))
        else bool(_find(str(value), text))
        for value in values
    )


def _find(name: str, text: str) -> list[int]:
    return [match.start() for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


def _is_told(sentence: str, text: str) -> bool:
    figures = [value for value, _ in read_numbers(sentence)]
    if figures:
        return _holds(figures, text)
    words = {word.lower() for word in re.findall(r"[^\W\d_]{4,}", sentence)}
    return sum(bool(re.search(rf"\b{word}\b", text, re.IGNORECASE)) for word in words) >= SAID_SHARE * len(words)
