"""Reads actions that a model writes as text, for models without calls of tools of their own:

    ACTION: SEARCH_WEB
    QUERY: Python async best practices
    MAX_RESULTS: 5
    ---END---

Fields are strict: one that the action does not have, one given twice or one that is missing is an error, and nothing of
that action is done. Prose around actions is text. An action is one only in its own place: at the beginning of a line,
outside of fences, and not in a quotation, an example or the content of another. The last field of an action may run
over many lines, and may hold what looks like actions and ends: the action goes on to the last `---END---` that is not
the end of another action within it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kapelle.models import ToolDefinition

END = "---END---"
_ACTION = re.compile(r"ACTION:[ \t]*(\w[\w-]*)[ \t]*$")
_FIELD = re.compile(r"([A-Z][A-Z_0-9]*):(?:[ \t](.*))?$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[^`]*$")
_LOOKS_LIKE_ONE = re.compile(r"(?im)^[ \t>*`_-]*ACTION[*`_]*[ \t]*:")
MAX_FIELD_CHARS = 2_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionForm:
    """How the text protocol writes one tool."""

    word: str
    """As in `ACTION: READ_FILE`."""
    tool: ToolDefinition
    fields: Mapping[str, str]
    """Names of fields to arguments of the tool, in their order. The last one may run over many lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextCall:
    """One action that was read."""

    tool: str
    arguments: Mapping[str, Any]
    text: str
    """As the model wrote it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextError:
    """One action that was not, and why; with the way to write it."""

    message: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TextReply:
    """What a reply holds."""

    actions: tuple[TextCall | TextError, ...]
    """In the order of writing."""
    prose: str
    """What stands around them."""


def read_actions(text: str, forms: Sequence[ActionForm]) -> TextReply:
    """Return the actions of a reply, and the prose around them."""
    lines = text.split("\n")  # no other sign ends a line: content may hold them
    by_word = {form.word: form for form in forms}
    actions: list[TextCall | TextError] = []
    prose: list[str] = []
    position, fence = 0, ""
    while position < len(lines):
        line = lines[position]
        fence = _fence_after(line, fence)
        found = None if fence else _ACTION.match(line.rstrip("\r"))
        if found is None:
            prose.append(line)
            position += 1
            continue
        end = _end_of(lines, position)
        block = "\n".join(lines[position : (len(lines) if end is None else end + 1)])
        if end is None:
            message = f"The action {found[1]} has no {END}, so it was not done. End every action with a line {END}."
            actions.append(TextError(message=message, text=block))
            break
        actions.append(_read_one(found[1], lines[position + 1 : end], block, by_word))
        position = end + 1
    if not actions and (misplaced := _misplaced(prose)):
        actions.append(misplaced)
    return TextReply(actions=tuple(actions), prose="\n".join(prose).strip())


def write_action(form: ActionForm, arguments: Mapping[str, Any]) -> str:
    """Return an action as the protocol writes it."""
    lines = [f"ACTION: {form.word}"]
    for field, argument in form.fields.items():
        if argument in arguments:
            value = arguments[argument]
            lines.append(f"{field}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*lines, END])


def describe_forms(forms: Sequence[ActionForm]) -> str:
    """Return how every action is written, for the model's instructions; the same for the same forms."""
    parts = []
    for form in forms:
        required = form.tool.required
        lines = [f"ACTION: {form.word}"]
        for field, argument in form.fields.items():
            schema = form.tool.properties.get(argument)
            words = str(schema.get("description", "")) if isinstance(schema, Mapping) else ""
            lines.append(f"{field}: <{words or argument}>" + ("" if argument in required else "   (may be left out)"))
        parts.append("\n".join([f"{form.tool.description}", *lines, END]))
    return "\n\n".join(parts)


def _fence_after(line: str, fence: str) -> str:
    """Return the fence that is open after a line."""
    found = _FENCE.match(line.rstrip("\r"))
    if not fence:
        return found[1] if found else ""
    closes = found is not None and line.strip().startswith(fence) and set(line.strip()) == {fence[0]}
    return "" if closes else fence


def _end_of(lines: Sequence[str], start: int) -> int | None:
    """Return the line that ends the action which begins at `start`; None if nothing does.

    Actions within its content have ends of their own. An end after which another end comes, before any action, was
    content: a file that speaks of the protocol.
    """
    depth, end = 0, None
    for position in range(start, len(lines)):
        line = lines[position]
        if _ACTION.match(line.rstrip("\r")):
            if depth == 0 and end is not None:
                return end
            depth += 1
        elif line.rstrip() == END:
            depth = max(0, depth - 1)
            if depth == 0:
                end = position
    return end


def _read_one(word: str, lines: Sequence[str], block: str, by_word: Mapping[str, ActionForm]) -> TextCall | TextError:
    form = by_word.get(word.upper())
    if form is None:
        return TextError(message=f"There is no action {word!r}. There are: {', '.join(sorted(by_word))}.", text=block)
    last = list(form.fields)[-1] if form.fields else None
    is_content = last is not None and form.fields[last] == "content"
    if not is_content:
        lines = [line.removesuffix("\r") for line in lines]
    if any(line.rstrip() == END for line in lines) and not is_content:
        # Only what is written into a file may speak of the protocol: what else stands before the last end is a guess.
        return TextError(message=_wrong(form, f"holds a line {END} before its end"), text=block)
    values: dict[str, list[str]] = {}
    current: str | None = None
    for line in lines:
        found = None if current is not None and current == last else _FIELD.match(line.rstrip("\r"))
        if found is not None and (found[1] in form.fields or current is None or not line.strip()):
            name = found[1]
            if name not in form.fields:
                return TextError(message=_wrong(form, f"has no field {name!r}"), text=block)
            if name in values:
                return TextError(message=_wrong(form, f"has the field {name!r} twice"), text=block)
            current = name
            values[name] = [found[2] or ""]
        elif current is not None:
            values[current].append(line)
        elif line.strip():
            return TextError(message=_wrong(form, f"has a line that is no field: {line.strip()[:80]!r}"), text=block)
    arguments: dict[str, Any] = {}
    for name, told in values.items():
        argument = form.fields[name]
        schema = form.tool.properties.get(argument)
        arguments[argument] = _typed(_joined(told, is_raw=name == last), schema if isinstance(schema, Mapping) else {})
    missing = [name for name, argument in form.fields.items() if argument in form.tool.required - set(arguments)]
    if missing:
        return TextError(message=_wrong(form, f"lacks {', '.join(missing)}"), text=block)
    return TextCall(tool=form.tool.name, arguments=arguments, text=block)


def _joined(told: list[str], *, is_raw: bool) -> str:
    if not is_raw:
        return "\n".join(told).strip()
    if told and not told[0]:
        told = told[1:]  # the value begins on the next line
    return "\n".join(_without_fence(told))


def _without_fence(lines: list[str]) -> list[str]:
    """Return the lines of a value without the one fence that was put around all of it."""
    opening = _FENCE.match(lines[0]) if len(lines) > 1 else None
    if opening is None or lines[-1].strip() != opening[1]:
        return lines
    inner = lines[1:-1]
    return lines if any(line.strip() == opening[1] for line in inner) else inner


def _typed(value: str, schema: Mapping[str, Any]) -> Any:
    """Return a field as its schema wants it, as far as it is that; what does not fit is checked with all arguments."""
    kinds = schema.get("type", "string")
    if kinds == "string" or (isinstance(kinds, (list, tuple)) and "string" in kinds):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().lower(), value)


def _wrong(form: ActionForm, what: str) -> str:
    wanted = ", ".join(
        name if argument in form.tool.required else f"{name} (may be left out)"
        for name, argument in form.fields.items()
    )
    return f"The action {form.word} {what}, so it was not done. Its fields: {wanted}."


def _misplaced(prose: Sequence[str]) -> TextError | None:
    """Return that something was meant as an action and stands where none is done; None if nothing was."""
    text = "\n".join(prose)
    if not _LOOKS_LIKE_ONE.search(text) or END not in text:
        return None
    message = (
        "An action in a fence, a quotation or an example is text, and nothing was done. To do it, write ACTION: at the "
        f"beginning of a line, its fields, and {END} on a line of its own."
    )
    return TextError(message=message, text=text)
