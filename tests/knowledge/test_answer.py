from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.knowledge import Passage, find_answer
from kapelle.knowledge.words import stem


def passage(text: str, heading: str = "", first_line: int = 1) -> Passage:
    lines = text.count("\n")
    return Passage(file="a.md", first_line=first_line, last_line=first_line + lines, heading=heading, text=text)


NOTES = [
    passage("France is a country. Its capital is Paris, on the Seine.", "France", 3),
    passage("The Suez Canal joins two seas;\nit was opened in 1869.", "Egypt", 7),
    passage("Germany is a federation of sixteen states.", "Germany"),
    passage("The Danube is the second longest river of Europe, after the Volga.", "Danube"),
    passage(
        "Before Brasília, the capital of Brazil was Rio de Janeiro.\nBrasília is the capital of Brazil.", "Brasília"
    ),
    passage("Canada is large. Its capital is Ottawa, in the province of Ontario.", "Canada"),
    passage("The four largest islands of Japan have names.", "Japan"),
    passage("| `file` | the capital of each country |", "Data"),
    passage("The Taj Mahal was built by order of Shah Jahan.", "India"),
]


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("What is the capital of France?", "Paris"),
        ("capital of brazil", "Brasília"),
        ("When was the Suez Canal opened?", "1869"),
        ("How many states does Germany have?", "sixteen"),
        ("What is the second longest river of Europe?", "Danube"),
        ("Who built the Taj Mahal?", NOTES[-1].text),
    ],
)
def test_the_thing_asked_for_is_cut_out(question: str, value: str) -> None:
    found = find_answer(question, NOTES)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of Peru?",
        "What is the longest river of Europe?",
        "When was the Taj Mahal built?",
        "How many people live in Germany?",
        "Who opened the Suez Canal?",
        "What is the population of France?",
        "What is the capital of Ontario?",
        "How many islands does Japan have?",
        "capital of each country",
        "",
        "the of and",
    ],
)
def test_no_sentence_is_better_than_a_wrong_one(question: str) -> None:
    assert find_answer(question, NOTES) is None


def test_the_citation_names_the_line_that_the_sentence_begins_on() -> None:
    found = find_answer(
        "When did it rain in Oslo?", [passage("One line.\nAnother.\nIt rained in Oslo in 1999.", "", 11)]
    )
    assert found is not None
    assert found.citation == "a.md:13"


def test_word_forms_share_a_stem() -> None:
    for one, other in [
        ("country", "countries"),
        ("fell", "fall"),
        ("opened", "opens"),
        ("independent", "independence"),
    ]:
        assert stem(one) == stem(other)


@given(st.text(max_size=80), st.text(max_size=200))
def test_an_answer_is_always_a_part_of_the_text(question: str, text: str) -> None:
    found = find_answer(question, [passage(text)])
    if found is not None:
        assert found.sentence in " ".join(text.split())
        assert found.value in found.sentence


def test_the_notes_of_the_atlas_answer_questions() -> None:
    from kapelle.knowledge import FolderIndex

    atlas = Path(__file__).parents[2] / "examples" / "atlas" / "data"
    expected = {
        "When was Brasília inaugurated?": "21 April 1960",
        "What is the capital of Sudan?": "Khartoum",
        "When did the Berlin Wall fall?": "9 November 1989",
        "What is the capital of Australia?": "Canberra",
    }
    with FolderIndex(atlas) as index:
        found = {question: find_answer(question, index.search(question, limit=8)) for question in expected}
    assert {question: answer and answer.value for question, answer in found.items()} == expected


@pytest.mark.parametrize(
    "question", ["population of {!!}", "What is the population of", "its population", "Is it dense?"]
)
def test_a_question_without_a_readable_subject_is_not_answered(question: str) -> None:
    note = passage("Population density is the number of people per unit of area.", "Glossary")
    assert find_answer(question, [note]) is None


def test_a_superlative_within_one_place_does_not_answer_for_all() -> None:
    note = passage("Brazil is the largest country of South America, by area.", "Brazil")
    assert find_answer("Which country is the largest?", [note]) is None
    assert find_answer("Which country is the largest of South America?", [note]) is not None


def test_what_a_thing_is_goes_before_what_happened_to_it() -> None:
    notes = [passage("Germany was reunified in 1990.", "Germany"), passage("Germany is a country in Central Europe.")]
    found = find_answer("Germany", notes)
    assert found is not None
    assert found.sentence == "Germany is a country in Central Europe."
