from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.knowledge import Passage, find_answer, unsaid_words
from kapelle.language.words import stem


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
        ("look up what the capital of Canada is", "Ottawa"),
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


@pytest.mark.parametrize(
    ("question", "text", "heading"),
    [
        # other words
        ("What is the refund policy for opened items?", "The refund policy for unopened items is generous.", ""),
        ("When was the bridge opened?", "The old bridge was opened in 2001.", ""),
        ("When was the bridge opened?", "The bridge in Riga was opened in 2001.", ""),
        ("What is the price of the ticket?", "The price of the child ticket is 5 euros.", ""),
        ("What is the price of the ticket in 2024?", "The price of the ticket is 5 euros.", ""),
        ("vacation days of interns", "The vacation days of managers are 30. Interns work hard.", ""),
        # about something else
        ("What is the capital of France?", "Lyon is the capital of Rhone.", "France"),
        ("Who designed the lamp?", "Bob designed the charger.", "Lumen lamp"),
        ("What is the lamp made of?", "The charger is made of steel.", "Lumen lamp"),
        ("Where is the archive?", "The key of the archive is in Room B.", ""),
        ("Who is the boss of Anna?", "The boss of Anna met Bob.", ""),
        ("When was the launch of Orion?", "The launch of Orion was announced on 2 May 2024.", ""),
        # who does it to whom
        ("Who defeated Napoleon?", "Napoleon defeated Blucher.", ""),
        ("Who did Napoleon defeat?", "Wellington defeated Napoleon.", ""),
        ("Who is taller than Anna?", "Anna is taller than Bob.", ""),
        ("Is Anna taller than Bob?", "Bob is taller than Anna.", ""),
        ("Who is the boss of Anna?", "Anna is the boss of Bob.", ""),
        # denied, excepted, some
        ("Who is not allowed in the server room?", "Administrators are allowed in the server room.", ""),
        ("Who may enter the server room?", "Visitors may not enter the server room.", ""),
        ("Which office has no parking?", "The Hamburg office has parking for 40 cars.", ""),
        ("What does the shop sell?", "The shop never sells bread.", ""),
        ("Are USB sticks forbidden?", "USB sticks are forbidden except for the marketing team.", ""),
        ("Do all shops sell bread?", "Some shops sell bread.", ""),
        ("When were the lamps recalled?", "Some lamps were recalled in 2021.", ""),
        # another time, or not told as true
        ("What is the price of the ticket?", "The price of the ticket was 5 euros.", ""),
        ("What was the price of the ticket?", "The price of the ticket is 5 euros.", ""),
        ("What is the price of the ticket?", "The price of the ticket is 5 euros.", "Prices until 2019"),
        ("Who is the officer?", "The former officer is Paul Stein.", ""),
        ("Who leads the team?", "Anna Berg led the team until May.", ""),
        ("When was the bridge opened?", "The bridge will be opened in 2031.", ""),
        ("When was the bridge opened?", "If the bridge was opened in 2001, it is old.", ""),
        ("When was the bridge opened?", "Was the bridge opened in 2001?", ""),
        # not what is asked for
        ("Why was the shop closed?", "The shop was closed in 2001.", ""),
        ("Why was the shop opened?", "The shop was closed because of the flood and opened again.", ""),
        ("How is the filter cleaned?", "The filter is cleaned on Mondays.", ""),
        ("How long is the river?", "The river passes 12 towns.", ""),
        ("How long is the river?", "The river is 12 km wide.", ""),
        ("How many rooms does the hotel have?", "Two rooms of the hotel have a balcony.", ""),
        ("Where was Ada born?", "Ada was born in 1815.", ""),
        ("Where is the archive?", "The archive is in good order.", ""),
        ("What is the deadline?", "The deadline was moved.", ""),
        ("What is the capital of Australia?", "The capital of Australia is larger than Perth.", ""),
        ("What is the capital of Australia?", "Sydney, it is often said, is the capital of Australia.", ""),
        ("How many students passed the exam?", "Of 40 students, many passed the exam.", ""),
        ("What did Jo Lind write?", "Jo Lind wrote to the king.", ""),
        ("Where did Jo Lind live?", "Jo Lind lives in Oslo.", ""),
        # yes or no
        ("Was the contract signed?", "The contract was to be signed in May.", ""),
        ("Did Bob sign the contract?", "Bob refused to sign the contract.", ""),
        ("Is Paris the capital of Spain?", "Paris is the capital of France. Spain is a country.", ""),
        ("Are dogs allowed in the office?", "Dogs are allowed in the garden of the office.", ""),
        ("Are dogs allowed in the office?", "Guide dogs are allowed in the office.", ""),
        ("Does the shop sell bread?", "The shop sells bread rolls.", ""),
        ("Is the lamp too bright?", "Customers say that the lamp is too bright.", ""),
    ],
)
def test_a_sentence_that_merely_shares_words_is_no_answer(question: str, text: str, heading: str) -> None:
    assert find_answer(question, [passage(text, heading)]) is None


@pytest.mark.parametrize(
    ("question", "text", "heading", "value"),
    [
        ("Who designed the lamp?", "Bob designed it.", "Lumen lamp", ""),
        ("When was the bridge opened?", "The bridge was opened in 2001 and closed in 2003.", "", "2001"),
        ("When was Ada born?", "Ada was born in London in 1815.", "", "1815"),
        ("Where was Ada born?", "Ada was born in London in 1815.", "", ""),
        ("Why was the shop closed?", "The shop was closed in 2001 because of the flood.", "", ""),
        ("How is the filter cleaned?", "The filter is cleaned with warm water.", "", ""),
        ("How do I open the housing?", "To open the housing, remove the four screws with a hex key.", "", ""),
        ("How many rooms does the hotel have?", "The hotel has 40 rooms and 3 suites.", "", "40"),
        ("How long does parental leave last?", "Parental leave lasts up to 36 months.", "", ""),
        ("Which office has no parking?", "The Munich office has no parking.", "", ""),
        ("Which project does Anna Berg lead?", "Anna Berg leads the Orion project.", "", ""),
        ("Who is not entitled to leave?", "Contractors are not entitled to leave.", "", "Contractors"),
        ("Does the shop sell bread?", "The shop does not sell bread.", "", ""),
        ("Is the lamp available in blue?", "The lamp is no longer available in blue.", "", ""),
        ("Is Anna taller than Bob?", "Anna is taller than Bob.", "", ""),
        ("What is the notice period?", "**Notice period:** 3 months\n**Probation:** 6 months", "", ""),
        ("Who is the security officer?", "The security officer is Miriam Okafor.", "", "Miriam Okafor"),
        ("What is the capital of Peru?", "Its capital is Lima or Cusco.", "Peru", ""),
    ],
)
def test_a_sentence_that_says_what_is_asked_is_the_answer(question: str, text: str, heading: str, value: str) -> None:
    found = find_answer(question, [passage(text, heading)])
    assert found is not None
    assert found.value == (value or found.sentence)


@pytest.mark.parametrize(
    ("question", "one", "other", "disagree"),
    [
        ("When is the launch?", "The launch is on 3 June 2024.", "The launch is on 9 May 2024.", True),
        ("When was the canal opened?", "The canal was opened in 1869.", "The canal was opened on 17 May 1869.", False),
        ("What is the budget of Orion?", "The budget of Orion is 5 euros.", "The budget of Orion is 6 euros.", True),
        ("Who leads the team?", "Anna Berg leads the team.", "Bob Cole leads the team.", True),
        ("Are dogs allowed?", "Dogs are allowed.", "Dogs are not allowed.", True),
        ("delta", "A delta is the land that a river builds.", "A delta is a letter.", False),
        ("What is the capital of Peru?", "Lima is the capital of Peru.", "The capital of Peru is Lima.", False),
    ],
)
def test_sentences_that_disagree_are_all_returned(question: str, one: str, other: str, disagree: bool) -> None:
    for texts in ((one, other), (other, one)):
        found = find_answer(question, [passage(text) for text in texts])
        assert found is not None
        said = {found.sentence, *(answer.sentence for answer in found.others)}
        assert said == {one, other} if disagree else not found.others


def test_the_words_that_no_passage_holds_are_named() -> None:
    assert unsaid_words("What is the colour of the new door?", [passage("The new house has a door.")]) == ("colour",)
