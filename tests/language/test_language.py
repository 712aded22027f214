"""What the language rules make of phrases, without tasks."""

from __future__ import annotations

import pytest

from kapelle.language.facts import MAX_FACT_DEPTH, parse_facts, replace_pronoun, split_owned, split_steps
from kapelle.language.pronouns import find_referent, subject_of
from kapelle.planning.rules.request_shapes import find_files, read_comparison, to_plural


@pytest.mark.parametrize(
    ("phrase", "facts"),
    [
        ("the GDP of France and Germany", ["GDP of France", "GDP of Germany"]),
        ("the Republic of Korea", ["Republic of Korea"]),
        ("the area of Peru and its capital", ["area of Peru", "capital of Peru"]),
        ("the capital of Peru and its area", ["capital of Peru", "area of the capital of Peru"]),
        ("Kenya and its capital", ["Kenya", "capital of Kenya"]),
    ],
)
def test_a_phrase_asks_for_these_facts(phrase: str, facts: list[str]) -> None:
    assert [fact.text for fact in parse_facts(phrase)] == facts


@pytest.mark.parametrize(
    ("text", "asked", "referent"),
    [
        ("who built it?", "When was the Suez Canal opened", "subject"),
        ("where does it rise?", "What is the length of the Danube", "subject"),
        ("when was it written?", "Who wrote Hamlet", "subject"),
        ("what is its capital?", "What currency does Japan use", "subject"),
        ("Where was he born?", "Who wrote Hamlet", "found"),
        ("find its population", "the capital of France", "found"),
        ("its length", "the longest river in Germany", "found"),
        ("what are their capitals?", "which countries does the Danube flow through", "found"),
        ("which languages are spoken there?", "Where was Goethe born", "found"),
        ("which river is the longest there?", "What is the population of Brazil", "subject"),
        ("how many rivers are there?", "What is the population of Brazil", None),
    ],
)
def test_a_pronoun_refers_to_what_was_found_or_to_what_it_was_asked_about(
    text: str, asked: str, referent: str | None
) -> None:
    assert find_referent(text, asked) == referent


def test_the_subject_of_a_question_is_its_names_and_not_its_first_word() -> None:
    assert subject_of("When was the Suez Canal opened") == "Suez Canal"
    assert subject_of("How long is the river") == ""


def test_a_word_that_only_fills_the_sentence_refers_to_nothing() -> None:
    steps = split_steps("How many rivers are there in Europe? Is it larger than that of Japan?", ())
    assert [step.refers_back for step in steps] == [False, True]
    assert not split_steps("Is Peru larger than that of Japan?", ())[0].refers_back


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("Compare France with Germany", ["France", "Germany"]),
        (
            "How much larger is the population of India than that of Japan?",
            ["population of India", "population of Japan"],
        ),
        ("Which has the higher GDP, France or Spain?", ["gdp of France", "gdp of Spain"]),
        ("Is the Danube longer than 1000 km?", None),
        (
            "Compare the highest and the lowest mountain in Peru",
            ["highest mountain in Peru", "lowest mountain in Peru"],
        ),
    ],
)
def test_a_comparison_is_about_these_facts(text: str, facts: list[str] | None) -> None:
    found = read_comparison(text)
    assert (None if found is None else [fact.text for fact in found]) == facts


def test_files_are_named_by_what_is_there_by_quotes_or_by_their_ending() -> None:
    known = ["a/semi colon.csv", "colon.csv"]
    assert find_files("Read semi colon.csv", known) == ["a/semi colon.csv"]
    assert find_files('Read "my notes.md" and colon.csv', known) == ["my notes.md", "colon.csv"]
    assert find_files("What is 3.5 times 2", known) == []


def test_one_its_before_an_enumeration_belongs_to_all_of_it() -> None:
    assert replace_pronoun("find its capital, GDP and area", "Peru") == "find the capital and GDP and area of Peru"
    assert replace_pronoun("Where was he born, and when?", "X") == "Where was X born, and when?"
    assert replace_pronoun("its x " * 3_000, "their").startswith("the x")
    assert split_owned("its capital, population and its area") == ["its capital", "its population", "its area"]


def test_facts_end_at_a_depth() -> None:
    (fact,) = parse_facts("the a of " * 5_000 + "Peru")
    assert fact.depth > MAX_FACT_DEPTH


@pytest.mark.parametrize(
    ("phrase", "plural"),
    [
        ("mountain higher than 8000 m", "mountains higher than 8000 m"),
        ("mountain over 8000 m", "mountains over 8000 m"),
        ("language spoken in Peru", "languages spoken in Peru"),
        ("language spoken", "languages spoken"),
        ("country bordering Peru", "countries bordering Peru"),
        ("river", "rivers"),
    ],
)
def test_the_noun_of_a_phrase_becomes_plural(phrase: str, plural: str) -> None:
    assert to_plural(phrase) == plural
