"""What a folder says where its parts share words, disagree, or say nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kapelle.agents import TaskContext
from kapelle.errors import AgentFailed
from kapelle.graph import Task
from kapelle.local import local_agents

STAFF = """name,team,remote,salary
Anna Berg,Sales,yes,5000
Bob Cole,Sales,no,4000
Carla Diaz,Support,yes,4200
Bob Cole,IT,yes,4000
Dan Egan,Support,no,3900
"""
NOTES = """# Notes

The salary of Anna Berg is 5,200 euros. The salary of Carla Diaz is 4.2 thousand euros.

The remote employees get a laptop. The launch of Orion is on 3 June 2024.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "staff.csv").write_text(STAFF)
    (tmp_path / "notes.md").write_text(NOTES)
    (tmp_path / "later.md").write_text("The launch of Orion is on 9 May 2025.\n")
    return tmp_path


def ask(folder: Path, query: str, *, kind: str = "lookup", **inputs: Any) -> dict[str, Any]:
    agents = {kind: agent for card, agent in local_agents(folder) for kind in card.task_types}
    task = Task(task_id="t", task_type=kind, inputs={"query": query, **inputs})
    output = asyncio.run(agents[kind].run(task, TaskContext(run_id="r1", request=""))).output
    assert isinstance(output, dict)
    return output


def test_two_rows_of_one_name_are_both_shown(folder: Path) -> None:
    found = ask(folder, "team of Bob Cole")
    assert found["text"] == "2 rows are called 'Bob Cole'. Team of Bob Cole: Sales (staff.csv:3) or IT (staff.csv:5)"
    assert found["answer"] == found["text"]
    assert found["sources"] == ["staff.csv:3", "staff.csv:5"]
    assert ask(folder, "salary of Bob Cole")["answer"] == 4000


def test_a_row_and_a_sentence_that_disagree_are_both_shown(folder: Path) -> None:
    found = ask(folder, "What is the salary of Anna Berg?")
    assert "say different things" in found["answer"]
    assert found["sources"] == ["staff.csv:2", "notes.md:3"]
    assert ask(folder, "What is the salary of Carla Diaz?")["answer"] == 4200  # rounded is no other figure


def test_two_documents_that_disagree_are_both_shown(folder: Path) -> None:
    found = ask(folder, "When is the launch of Orion?")
    assert "3 June 2024" in found["answer"]
    assert "9 May 2025" in found["answer"]
    assert sorted(found["sources"]) == ["later.md:1", "notes.md:5"]


@pytest.mark.parametrize("query", ["Who is not remote?", "Which employees never get a laptop?", "Is Anna Berg remote?"])
def test_a_question_that_the_tables_refuse_is_not_answered_with_like_words(folder: Path, query: str) -> None:
    with pytest.raises(AgentFailed):
        ask(folder, query)


def test_a_refusal_names_the_words_and_the_nearest_passage(folder: Path) -> None:
    with pytest.raises(
        AgentFailed, match=r"No document has 'submarine'.*(?:notes.md:5|later.md:1), has the other words"
    ):
        ask(folder, "When is the launch of the Orion submarine?")
    with pytest.raises(AgentFailed, match=r"(?:notes.md:5|later.md:1), lacks 'salary'"):
        ask(folder, "When is the salary launch of Orion?")


@pytest.mark.slow
def test_passages_are_called_passages_and_hold_every_word_of_the_search(folder: Path) -> None:
    found = ask(folder, "a laptop, the launch of Orion", kind="search")
    assert found["answer"].startswith(
        "Passages that hold the words of 'a laptop, the launch of Orion'; none of them was"
    )
    assert found["understood"].endswith(" in notes.md.")
    with pytest.raises(AgentFailed, match="Nothing in the folder answers 'launch of the Orion submarine'"):
        ask(folder, "launch of the Orion submarine", kind="search")
    with pytest.raises(AgentFailed, match=r"No document has 'submarine'\. Ask in the words"):
        ask(folder, "submarine", kind="search", file="later.md")


def test_what_was_looked_up_is_said_in_a_sentence(folder: Path) -> None:
    assert ask(folder, "salary of Dan Egan")["understood"] == "The salary of staff where name is 'Dan Egan'."
    launch = ask(folder, "When is the launch of Orion?", file="later.md")
    assert launch["understood"] == "Sentences about 'When is the launch of Orion?' in later.md."


def test_a_question_to_a_file_is_answered_from_it_or_refused(folder: Path) -> None:
    assert ask(folder, "When is the launch of Orion?", file="later.md")["answer"] == "9 May 2025"
    assert ask(folder, "What does later.md say?", file="later.md")["answer"].startswith("The launch")
    with pytest.raises(AgentFailed, match=r"later.md:1, lacks 'salary', 'anna', 'berg'"):
        ask(folder, "salary of Anna Berg", file="later.md")
