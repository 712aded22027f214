"""docs/guarantees.md shows which promise holds in which ways, and shows it as the tests' own tables have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import matrix, mending
from .ways import ADAPTERS, BACKENDS, FACTORS, STRATEGIES, Way, sampled_ways, why_not


def test_the_document_shows_the_matrix_that_the_tests_make() -> None:
    document = matrix.DOCUMENT.read_text(encoding="utf-8")
    assert document == matrix.written(document), "run: python -m tests.promises.matrix --write"


@pytest.mark.parametrize("promise", matrix.PROMISES)
def test_every_promise_has_its_file_and_its_parts(promise: str) -> None:
    file, parts = matrix.PROMISES[promise]
    text = (Path(__file__).parent / f"{file}.py").read_text(encoding="utf-8")
    for part in parts:
        assert f'params("{part}"' in text


def test_what_is_known_names_a_promise_a_column_and_a_note() -> None:
    columns = {*ADAPTERS, *STRATEGIES, *matrix.BACKEND_COLUMNS}
    for (promise, column), note in matrix.KNOWN.items():
        assert promise in matrix.PROMISES
        assert column in columns
        assert note in matrix.NOTES
    assert {*matrix.KNOWN.values()} == {*matrix.NOTES}


def test_what_is_being_mended_covers_ways_that_there_are() -> None:
    for entries in mending.MENDING.values():
        for reason, _ in entries:
            assert reason


def test_every_two_lines_of_two_tables_meet_where_they_can() -> None:
    ways = sampled_ways()
    assert all(why_not(way) is None for way in ways)
    met = {(one, way[one], other, way[other]) for way in ways for one in range(5) for other in range(one)}
    possible = 0
    for one in range(5):
        for other in range(one):
            for first in FACTORS[one]:
                for second in FACTORS[other]:
                    possible += (one, first, other, second) in met
    assert possible == len(met)
    for number, table in enumerate(FACTORS):
        assert {way[number] for way in ways} == set(table)
    assert set(BACKENDS) == {Way(*way).backend for way in ways}
