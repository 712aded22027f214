"""What one step of a request asks for, as tasks: a look-up, a question to tables, arithmetic, a comparison, a text.

What fits none of these is refused, with what would be understood.
"""

from __future__ import annotations

import re
from typing import Any

from kapelle import language
from kapelle.errors import CannotPlan
from kapelle.graph import escape_braces
from kapelle.language import find_referent, quote_text

from . import request_shapes as shapes
from .draft import COMPARE, COMPUTE, KNOWN, LOOKUP, PLANNING, REPORT, SUMMARY, TABLE, Draft, refusal
from .each import ask_of_each, close_each, each_of_last, follow_up, is_about_each, joins, repeat_step, repeat_task
from .stand_ins import cut_before_stand_in

_LEADS_ON = re.compile(r"(?:[\s,;.:]|\b(?:and|then|finally|next|please|after that))\Z", re.IGNORECASE)


def split_request(draft: Draft) -> list[language.Step]:
    """Return what the request asks for, part by part."""
    kinds = (kind.replace("_", " ") for kind in draft.task_types if kind not in ("*", *PLANNING))
    verbs = {*shapes.FIND_VERBS, *shapes.OTHER_VERBS, *kinds}
    return language.split_steps(shapes.EACH_WITHIN.sub("; for each of them: ", draft.request.strip()), verbs)


def add_step(draft: Draft, step: language.Step) -> None:
    """Add the tasks of one step."""
    if (whole := shapes.EACH_WITH_BODY.fullmatch(step.text)) is not None:
        body = whole["question"] or whole["verb"]
        add_step(draft, language.Step(text=whole["each"], follows=step.follows))
        add_step(draft, language.Step(text=body or f"find {shapes.without_verb(whole['listed'])}"))
        return
    if (each := shapes.EACH_OF_LAST.fullmatch(step.text) or shapes.EACH.fullmatch(step.text)) is not None:
        close_each(draft)
        draft.opened = (each.groupdict().get("items", ""), step)
        return
    if draft.opened is None and (of_each := shapes.OF_EACH.fullmatch(shapes.without_verb(step.text))) is not None:
        draft.opened = (of_each["items"], step)
        step = language.Step(text=f"find its {of_each['attributes']}")
    elif draft.opened is None and (after := shapes.EACH_AFTER.fullmatch(step.text)) is not None:
        draft.opened = (after["items"], step)
        step = language.Step(text=after["body"])
    if draft.opened is not None:
        ask_of_each(draft, *draft.opened, step)
        return
    if step.refers_back and not step.follows and not joins(draft, step):
        if draft.each:
            repeat_step(draft, draft.each, step)
            return
        if draft.each_of is not None:
            before = () if draft.last == (draft.each_of,) else draft.last
            draft.last = (*before, repeat_task(draft, draft.each_of, step))
            return
    draft.each, draft.each_of = (), None
    if is_about_each(draft, step):
        draft.last = (each_of_last(draft, step),)
        return
    step = _with_subject(draft, step)
    draft.asked, draft.owners = "", ()
    draft.last = draft.keep(tasks_of(draft, step))


def _with_subject(draft: Draft, step: language.Step) -> language.Step:
    """The step with its pronoun replaced where that means what the question before was about, not what it found."""
    if not (draft.asked and step.refers_back) or (joins(draft, step) and not shapes.THEIRS.search(step.text)):
        return step
    if find_referent(step.text, draft.asked) != "subject":
        return step
    if draft.owners:
        draft.last = draft.owners
        return step
    subject = language.subject_of(draft.asked)
    if not subject:
        raise refusal(step.text, "it is not clear what this refers to. Put the name in its place.")
    text = language.replace_pronoun(language.replace_there(step.text, subject), subject)
    return language.Step(text=text, follows=step.follows)


def tasks_of(draft: Draft, step: language.Step, apart: bool = False) -> tuple[str, ...]:
    """Return the ends of the tasks that this step adds. `apart`: it stands for one item, and joins nothing."""
    text = step.text
    after = draft.last if step.follows else ()
    if shapes.SQL.match(text):
        return (draft.task(TABLE, "Run the query", {"sql": escape_braces(text)}, depends_on=after),)
    if (asked := shapes.read_expression(text)) is not None:
        return (draft.task(COMPUTE, f"Calculate {asked}", {"expression": asked}, depends_on=after),)
    if shapes.ADDING.fullmatch(text) and any(draft.body(task) for task in draft.last):
        raise refusal(text, "how many numbers these are is known only while it runs.")
    if shapes.ADDING.fullmatch(text) and len(draft.last) > 1:
        total = " + ".join(f"{{{task}.answer}}" for task in draft.last)
        return (draft.task(COMPUTE, shapes.as_title(text), {"expression": total}, depends_on=draft.last),)
    if (summing := shapes.SUMMING.fullmatch(text)) is not None:
        return _write(draft, SUMMARY, text, summing["topic"], after)
    writing = shapes.WRITING.fullmatch(text)
    if writing is not None and (writing["form"] or text.lower().startswith(("write", "draft", "compose"))):
        return _write(draft, REPORT, text, writing["topic"] or "", after)
    if (facts := shapes.read_comparison(text)) is not None:
        return _compare(draft, text, facts, step, after)
    if _is_for_tables(draft, text, step):
        draft.asked = draft.asked or text
        return (_question(draft, text, after),)
    if (kind := _verb(draft, text)) is not None:
        return (_work(draft, kind, step, apart),)
    return _look_up(draft, step, after, apart)


def _write(draft: Draft, kinds: tuple[str, ...], text: str, topic: str, after: tuple[str, ...]) -> tuple[str, ...]:
    """A report or summary: over what came before, or over what its topic asks for.

    `topic` may list what to cover: "the Danube: its length, the countries it runs through".
    """
    head, _, aspects = topic.partition(": ")
    sources = draft.ends()
    named = draft.files_in(topic)
    if named:
        sources = tuple(_read(draft, name, after) for name in named)
    elif aspects:
        subject = language.parse_facts(head)[0].text
        covered = (shapes.aspect_of(subject, aspect) for aspect in language.split_items(aspects))
        sources = tuple(end for aspect in covered for end in tasks_of(draft, language.Step(text=aspect), apart=True))
    elif topic and not sources:
        sources = tuple(draft.fact(fact, after) for fact in language.parse_facts(shapes.WHAT_IS_KNOWN.sub("", topic)))
    if not sources:
        raise refusal(text, "about what? Say the topic, such as 'a report on the rivers of Europe'.")
    # "Then write a report" is about what was asked before it.
    about = head if head and not language.Step(text=head).refers_back else _asked_before(draft, text)
    inputs = {"title": escape_braces(shapes.as_title(about))}
    return (draft.task(kinds, shapes.as_title(text), inputs, depends_on=sources, needs_some=True),)


def _asked_before(draft: Draft, text: str) -> str:
    """The request up to this step, without the words that lead to it."""
    before = draft.request[: max(0, draft.request.find(text))]
    end = len(before)
    while (lead := _LEADS_ON.search(before, max(0, end - 20), end)) is not None:
        end = lead.start()
    before = before[:end]
    return before if 0 < len(before) <= 100 else cut_before_stand_in(before.partition(". ")[0], 100) or text


def _compare(
    draft: Draft, text: str, facts: list[language.Fact], step: language.Step, after: tuple[str, ...]
) -> tuple[str, ...]:
    # "Compare them": what is to be compared is already being found out.
    refers = len(facts) < 2 and step.refers_back
    if refers and (owned := re.search(r"\btheir\s+.+", text, re.IGNORECASE)) is not None and draft.last:
        sources = tuple(follow_up(draft, owned[0].rstrip("?"), previous) for previous in draft.last)
    else:
        sources = draft.ends() if refers else tuple(draft.fact(fact, after) for fact in facts)
        draft.asked = "" if refers else " and ".join(fact.text for fact in facts)
    if len(sources) < 2 and not refers:
        raise refusal(text, "a comparison needs two things. Name both, such as 'compare A and B'.")
    return (draft.task(COMPARE, shapes.as_title(text), {"question": escape_braces(text)}, depends_on=sources),)


def _question(draft: Draft, text: str, after: tuple[str, ...]) -> str:
    inputs: dict[str, Any] = {"question": escape_braces(shapes.without_verb(text))}
    if files := draft.files_in(text):
        inputs["file"] = escape_braces(files[0])
    return draft.task(TABLE, shapes.as_title(text), inputs, depends_on=after)


def _work(draft: Draft, kind: str, step: language.Step, apart: bool) -> str:
    """A verb that some agent knows as a task type: `implement the login page`."""
    before = () if apart else draft.last if (step.follows or step.refers_back) else ()
    return draft.task(kind, shapes.as_title(step.text), {"request": escape_braces(step.text)}, depends_on=before)


def _look_up(draft: Draft, step: language.Step, after: tuple[str, ...], apart: bool) -> tuple[str, ...]:
    text = shapes.without_verb(step.text)
    files = draft.files_in(text)
    if not apart and text == step.text and not shapes.QUESTION.match(text) and not files and " of " not in text:
        if draft.known_to_tables(text):
            return (_question(draft, text, after),)
        raise CannotPlan(f"No rule fits {quote_text(step.text)}. {KNOWN}")
    if files:
        return (_read(draft, files[0], after, question=text),)
    draft.asked = draft.asked or text
    if step.refers_back and draft.last and not apart:
        draft.owners = draft.last
        return tuple(follow_up(draft, part, previous) for previous in draft.last for part in language.split_owned(text))
    phrase = shapes.WHAT_IS.sub("", text, count=1) if shapes.WHAT_IS.match(text) else None
    if phrase is None and shapes.QUESTION.match(text):
        return (draft.query(text.rstrip("?"), text, after),)
    return tuple(draft.fact(fact, after) for fact in language.parse_facts(phrase or text))


def _read(draft: Draft, file: str, after: tuple[str, ...], *, question: str = "") -> str:
    if shapes.TABLE_FILE.search(file):
        return _question(draft, question or f"list everything in {file}", after)
    inputs = {"query": escape_braces(question or file), "file": escape_braces(file)}
    return draft.task(LOOKUP, f"Read {file}", inputs, depends_on=after)


def _is_for_tables(draft: Draft, text: str, step: language.Step) -> bool:
    inside = draft.answers_from_tables is not None and shapes.THEIRS_WITHIN.search(text) is not None
    if draft.first_type(TABLE) is None or (step.refers_back and not inside):
        return False
    if draft.answers_from_tables is not None:
        patterns = (shapes.TABLE_WORDS, shapes.SUPERLATIVE)
        asks = any(pattern.search(text) for pattern in patterns) or shapes.LISTS.match(text) is not None
        asks = asks or re.match(r".*\ball\b", text, re.IGNORECASE) is not None
        return asks and draft.known_to_tables(shapes.without_verb(text))
    return bool(shapes.TABLE_WORDS.search(text))


def _verb(draft: Draft, text: str) -> str | None:
    """The task type whose name the text begins with, unless it is a word for looking things up."""
    words = text.lower()
    looks_up = {*shapes.FIND_VERBS, "answer", "support"}
    for kind in sorted({*draft.task_types} - {*PLANNING}, key=len, reverse=True):
        verb = kind.replace("_", " ").lower()
        if verb not in looks_up and re.match(rf"{re.escape(verb)}\b(?!\s+of\b)", words):
            return kind
    return None
