"""What a request asks of each of several things: "for each of A and B, find its capital", "and their areas".

Refuses where it is not clear which things these are, or what is asked of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from kapelle import language
from kapelle.errors import CannotPlan
from kapelle.graph import escape_braces
from kapelle.language import find_referent, quote_text

from . import request_shapes as shapes
from .draft import COMPARE, KNOWN, LOOKUP, TABLE, Draft, refusal
from .for_each_card import FOR_EACH_TYPE, ONE_EACH


def is_about_each(draft: Draft, step: language.Step) -> bool:
    """Whether a step asks something of each thing that a question for several found: "and their capitals"."""
    listed = len(draft.last) == 1 and shapes.LISTS.match(draft.asked)
    if not listed or FOR_EACH_TYPE not in draft.task_types or shapes.THEIRS.search(step.text) is None:
        return False
    return find_referent(step.text, draft.asked) == "found" and not any(
        pattern.match(step.text) for pattern in (shapes.WRITING, shapes.SUMMING)
    )


def each_of_last(draft: Draft, step: language.Step) -> str:
    compared = re.match(r"compare\s+(?P<what>their\s+.+)", step.text, re.IGNORECASE)
    if compared is None:
        return repeat_task(draft, draft.last[0], step)
    each = repeat_task(draft, draft.last[0], language.Step(text=f"find {compared['what']}"))
    return draft.task(COMPARE, shapes.as_title(step.text), {}, depends_on=(each,))


def close_each(draft: Draft) -> None:
    """Refuse a "for each ..." of which nothing is asked, or which holds another one."""
    if draft.opened is not None:
        raise refusal(
            draft.opened[1].text,
            "what is asked of each is not clear, or it is another 'for each', which rules do not plan inside the "
            "first. Say it as in 'for each of A and B, find its capital'.",
        )


def ask_of_each(draft: Draft, items_text: str, opening: language.Step, body: language.Step) -> None:
    """Plan "for each ..." with the first thing that is asked of each."""
    draft.opened = None
    if re.search(r"\b(?:for|of)\s+(?:each|every)\b", f"{items_text} {body.text}", re.IGNORECASE):
        raise refusal(opening.text, "a 'for each' inside another is not planned by rules.")
    all_of = re.match(r"for\s+all\s+(?!of\b)", opening.text, re.IGNORECASE)
    if all_of and shapes.to_plural(items_text) != items_text:
        raise refusal(opening.text, "which items these are is not clear. Say 'for each ...'.")
    asked = shapes.without_verb(body.text)
    asks_unsaid = asked != body.text and shapes.UNSAID_OF.fullmatch(asked) is not None
    if joins(draft, body) or not (body.refers_back or asks_unsaid):
        raise refusal(
            body.text,
            "how this is meant of each is not clear. Say what to find of it, as in "
            "'for each of A and B, find its capital'.",
        )
    if not body.refers_back:
        body = language.Step(text=f"find its {language.without_article(asked)}")
    _open_each(draft, items_text, opening)
    if draft.each:
        repeat_step(draft, draft.each, body)
    elif draft.each_of is not None:
        draft.last = (repeat_task(draft, draft.each_of, body),)
    else:  # tasks that are there already: the capitals of France and Germany
        draft.last = tuple(follow_up(draft, shapes.without_verb(body.text), previous) for previous in draft.last)
    draft.asked, draft.owners = "", ()


def _open_each(draft: Draft, items_text: str, step: language.Step) -> None:
    draft.each, draft.each_of = (), None
    if _means_last(draft, items_text):
        _open_last(draft, step)
        return
    items = language.split_items(items_text)
    facts = language.parse_facts(f"the {items_text}") if len(items) > 1 else []
    if any(fact.attribute for fact in facts):
        draft.last = tuple(draft.fact(fact, ()) for fact in facts)
    elif len(items) > 1 and re.match(r"[a-z]+\s+(?:[a-z]+\s+)?(?:of|in|on|along|from|with|near|over)\s", items[0]):
        raise refusal(step.text, "which items these are is not clear. Name them one by one.")
    elif len(items) > 1:
        draft.each, draft.last = tuple(items), ()
    elif FOR_EACH_TYPE in draft.task_types:
        listing = f"list the {shapes.to_plural(items_text)}"
        if draft.tables_answer(listing) and not draft.tables_answer(shapes.without_verb(listing)):
            inputs = {"question": escape_braces(listing)}
            draft.last = (draft.task(TABLE, shapes.as_title(listing), inputs),)
        else:
            draft.last = draft.step_tasks(draft, language.Step(text=listing), False)
        draft.each_of, *others = draft.last
        if others:
            raise refusal(step.text, "which items these are is not clear. Name them one by one.")
    else:
        raise refusal(
            step.text,
            "which items these are is known only while it runs. Name them (for each of A, B and C), or configure a "
            "model (KAPELLE_MODEL).",
        )


def _means_last(draft: Draft, items_text: str) -> bool:
    """Whether "for each capital" means the capitals that the step before finds."""
    if not items_text:
        return True
    if not draft.last or not re.fullmatch(r"[a-z]+", items_text):
        return False
    asked = f"{draft.asked} {' '.join(draft.body(task) for task in draft.last)}".lower()
    return re.search(rf"\b(?:{re.escape(items_text)}|{re.escape(shapes.to_plural(items_text))})\b", asked) is not None


def _open_last(draft: Draft, step: language.Step) -> None:
    """Take what the step before finds as the items."""
    grows = [task for task in draft.last if draft.body(task)]
    listed = shapes.LISTS.match(draft.asked)
    if len(draft.last) == 1 and (grows or listed) and FOR_EACH_TYPE in draft.task_types:
        draft.each_of = draft.last[0]
    elif len(draft.last) < 2 or grows or find_referent("its", draft.asked) == "subject":
        raise refusal(step.text, "which items are meant is not clear. Name them (for each of A, B and C).")


def follow_up(draft: Draft, text: str, previous: str) -> str:
    """A question about what another task finds: "its population"."""
    if draft.body(previous):
        return repeat_task(draft, previous, language.Step(text=text if shapes.QUESTION.match(text) else f"find {text}"))
    marker = "\u2045found\u2046"
    query = escape_braces(language.replace_pronoun(text, marker)).rstrip("?")
    found = f"{{{previous}.answer}}"
    query = query.replace(marker, found) if marker in query else f"{query} ({found})"
    return draft.task(LOOKUP, shapes.as_title(text), {"query": query}, depends_on=(previous,))


def repeat_task(draft: Draft, source: str, step: language.Step) -> str:
    """A task that becomes one task per item when the items are known."""
    choice = re.search(r"\b(?:which|who|what)\s+one\b|\bof\s+(?:them|these|those)\b", step.text, re.IGNORECASE)
    if choice or (
        shapes.QUESTION.match(step.text)
        and shapes.SUPERLATIVE.search(step.text)
        and not shapes.THEIRS.search(step.text)
    ):
        raise refusal(step.text, "rules do not choose among what is found for each. Ask for a comparison.")
    _trial(draft, step.text)  # what will not be understood then is refused now
    if body := draft.body(source):  # its output is a list: what was found for each, if that is one thing
        if len(_trial(draft, body)) > 1:
            raise refusal(step.text, "which of the things found for each is meant is not clear. Name it.")
        if find_referent(step.text, shapes.without_verb(language.replace_pronoun(body, "Peru"))) == "subject":
            source = next(task.dependencies[0] for task in draft.tasks if task.task_id == source)
    inputs: dict[str, Any] = {"items": f"{{{source}}}", "body": escape_braces(step.text)}
    if _asks_for_one(draft, draft.body(source)):
        inputs[ONE_EACH] = True
    return draft.task(FOR_EACH_TYPE, shapes.as_title(f"for each of these: {step.text}"), inputs)


def _asks_for_one(draft: Draft, body: str) -> bool:
    """Whether a body asks for one thing of each item: "find its capital", not "find its neighbours"."""
    asked = shapes.with_owner(shapes.without_verb(body), draft.stand_ins.take("Peru"))
    facts = language.parse_facts(asked) if body and not shapes.QUESTION.match(asked) else []
    return len(facts) == 1 and facts[0].attribute != "" and language.is_singular(facts[0].attribute)


def _trial(draft: Draft, body: str) -> tuple[str, ...]:
    """Plan a body for an item, and return the ends."""
    trial = Draft(body, draft.task_types, draft.answers_from_tables, draft.stand_ins, draft.step_tasks, draft.files)
    repeat_step(trial, trial.take_items(["Peru"]), language.Step(text=body))
    return trial.last


def repeat_step(draft: Draft, items: Iterable[str], step: language.Step) -> None:
    """Add the tasks of one step for each of these items."""
    if re.search(r",\s*(?:who|whom|whose|what|which|when|where|why|how)\b", step.text, re.IGNORECASE):
        raise refusal(step.text, "a question inside a list is not split by rules. Ask it apart.")
    ends: list[str] = []
    before = draft.last
    for item in items:
        about = shapes.with_owner(step.text, item)
        if about == step.text:  # "find the capital, for each of ..." leaves its "of it" unsaid
            if not shapes.UNSAID_OF.fullmatch(shapes.without_verb(about)) or shapes.without_verb(about) == about:
                raise CannotPlan(f"No rule fits {quote_text(step.text)} for each item. {KNOWN}")
            about = f"{about} of {item}"
        ends += draft.keep(draft.step_tasks(draft, language.Step(text=about), True))
    draft.last = (*before, *ends)


def joins(draft: Draft, step: language.Step) -> bool:
    """Whether a step puts together what was found before it, rather than asks for something."""
    patterns = (shapes.WRITING, shapes.SUMMING, shapes.COMPARING, shapes.ADDING)
    return any(pattern.match(step.text) for pattern in patterns) and not draft.files_in(step.text)
