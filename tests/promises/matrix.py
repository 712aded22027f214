"""Draws which promise holds in which ways, from the tables that the tests are made of.

    python -m tests.promises.matrix            the tables of docs/guarantees.md, as they are to stand there
    python -m tests.promises.matrix --write    puts them there

`test_the_matrix_is_drawn` holds the document to it. A cell says `holds` where a test holds the promise there, `refused`
or `no` with a note where KNOWN says so, and `–` where there is nothing to hold.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from .mending import MENDING
from .ways import ADAPTERS, FAILURES, NOTHING, REPORTED, RESERVED, STRATEGIES, UNSAID, Way, sampled_ways

DOCUMENT = Path(__file__).parents[2] / "docs" / "guarantees.md"
BEGIN, END = "<!-- the matrix begins -->", "<!-- the matrix ends -->"

PROMISES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "nothing starts beyond the cap": (
        "test_a_budget_is_a_budget",
        ("nothing starts beyond the cap", "an overrun is shown", "one at a time", "too low a price", "zero"),
    ),
    "every attempt is charged once": (
        "test_every_attempt_is_charged_once",
        ("every account says the same", "paid is paid", "an invented price is flagged"),
    ),
    "half an answer is no answer": ("test_every_attempt_is_charged_once", ("half an answer is no answer",)),
    "no finished task runs again": (
        "test_no_finished_task_runs_again",
        ("nothing again after an end", "nothing again after a crash"),
    ),
    "nothing runs unchecked": ("test_nothing_runs_unchecked", ("a refused output is no answer",)),
    "every choice has a reason": (
        "test_every_choice_has_a_reason",
        ("every choice has a reason", "a reason can be asked for"),
    ),
    "what was returned is read back": ("test_what_was_returned_is_what_is_read_back", ("returned is read back",)),
    "a refused plan costs nothing": ("test_a_refused_plan_costs_nothing", ("a refused plan costs nothing",)),
}
"""Each promise with the file that holds it, and its parts as `mending` knows them."""

KNOWN: Mapping[tuple[str, str], str] = {
    ("nothing starts beyond the cap", "ray"): "sample",
    ("every attempt is charged once", "ray"): "sample",
    ("half an answer is no answer", "ray"): "sample",
    ("no finished task runs again", "ray"): "untried",
    ("nothing runs unchecked", "ray"): "untried",
    ("every choice has a reason", "ray"): "sample",
    ("what was returned is read back", "ray"): "sample",
    ("a refused plan costs nothing", "ray"): "untried",
    ("half an answer is no answer", "function"): "code",
    ("half an answer is no answer", "async function"): "code",
    ("half an answer is no answer", "@agent"): "code",
    ("half an answer is no answer", "object"): "code",
    ("half an answer is no answer", "YAML"): "code",
}
"""By promise and column, which note tells why it does not simply hold there."""
NOTES: Mapping[str, str] = {
    "code": "what code returns is its answer, whatever that is: it says by an error that it has none (`ReplyCut`, "
    "`ContentRefused`), or a validator says so",
    "untried": "not held on workers of Ray here: that is the engine's own work, which is the same for every backend",
    "sample": "held on a few ways, as workers take seconds to start; agents that cannot be sent to another "
    "process (a model's client, a pydantic-ai agent of a local function) are refused by name",
}
BACKEND_COLUMNS = ("asyncio", "threads", "ray")
WORDS = {
    REPORTED: "what it reported; else its price, else what was set aside",
    RESERVED: "what was set aside",
    UNSAID: "its price, else what was set aside",
    NOTHING: "nothing",
}


WHAT_HAPPENED = {
    "raises": "raises an error of its own",
    "fails": "says that it failed (`AgentFailed`), and not what that cost",
    "fails and is paid": "says that it failed, and what that cost",
    "may pass": "never reached anybody who bills (`TryAgain(sent=False)`, HTTP 503)",
    "may pass and is paid": "may be tried again, and says what it cost",
    "may have been paid": "reached somebody who may bill, and does not say what (`sent=True`)",
    "lasts too long": "lasts longer than it may",
    "cancels itself": "cancels itself",
    "is cut": "gives half a reply (`finish_reason: length`, `ReplyCut`)",
    "is empty": "gives an empty reply",
    "is refused": "is refused for its content",
    "breaks off": "is a stream that breaks off",
    "is hung up on": "loses its connection after the request was sent",
    "cannot be read": "gives what cannot be read, and says what it cost",
    "tells no figure": "reports a cost that is no number",
    "is no reply": "gives something that is no reply at all",
    "asks a person": "asks a person",
}
"""Each of FAILURES, in words."""


def draw() -> str:
    """Return the tables."""
    lines = [
        "By adapter (what turns code or a model into an agent):",
        "",
        *_table(tuple(ADAPTERS)),
        "",
        "By strategy, and by where agents run:",
        "",
        *_table((*STRATEGIES, *BACKEND_COLUMNS)),
        "",
        *(f"- *{note}*: {text}." for note, text in sorted(NOTES.items())),
        "",
        "How an attempt may end, and what is charged for it, whoever made it:",
        "",
        "| an attempt | is charged | held with |",
        "| --- | --- | --- |",
    ]
    assert WHAT_HAPPENED.keys() == FAILURES.keys()
    for name, failure in FAILURES.items():
        who = [adapter for adapter, made in ADAPTERS.items() if made.shows(name)]
        lines.append(
            f"| {WHAT_HAPPENED[name]} | {WORDS[failure.charged]} | "
            f"{'all' if len(who) == len(ADAPTERS) else ', '.join(who)} |"
        )
    return "\n".join(lines)


def _table(columns: tuple[str, ...]) -> list[str]:
    rows = [f"| | {' | '.join(f'`{one}`' if one == '@agent' else one for one in columns)} |"]
    rows.append("| --- |" + " --- |" * len(columns))
    rows += [f"| {promise} | {' | '.join(_cell(promise, one) for one in columns)} |" for promise in PROMISES]
    return rows


def _cell(promise: str, column: str) -> str:
    note = KNOWN.get((promise, column))
    if note is not None:
        return f"*{note}*"
    ways = [way for way in sampled_ways() if column in way]
    for part in PROMISES[promise][1]:
        for _, covers in MENDING.get(part, ()):
            if any(isinstance(way, Way) and covers(way) for way in ways):
                return "not in every way yet"
    return "holds"


def written(document: str) -> str:
    """Return the document with the tables as they are to be.

    Raises:
        ValueError: it has no place for them.
    """
    head, rest = document.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    return f"{head}{BEGIN}\n\n{draw()}\n\n{END}{tail}"


def main() -> None:
    """Print the tables, or write them into the document."""
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        print(draw())


if __name__ == "__main__":
    main()
