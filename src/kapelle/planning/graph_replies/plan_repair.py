"""Mends how the tasks of a new plan hang together, where it has one reading only; each repair leaves a note.

Ids that stand twice, dependencies on a task's name, type or number, on itself or on nothing. Circles are for whoever
mends drafts: see planner, DraftMender. What no reading decides is left as it is, for the strict reader to refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from kapelle.errors import InvalidPlan
from kapelle.graph import escape_braces

from .nodes import Node, Repairs

MAX_MENDED = 500
"""A plan of more tasks is no model's, and is read as it stands."""
_REFERENCE = re.compile(r"(?<!\{)\{(?P<name>[A-Za-z_][\w-]*)(?P<path>(?:\.\w+|\[\d{1,9}\])*)\}(?!\})")
_DOUBLED = re.compile(
    r"(?<!\{)\{\{[ ]?(?P<name>[A-Za-z_][\w-]*)(?P<path>(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*)[ ]?\}\}(?!\})"
)
_DOLLARED = re.compile(
    r'"(?:\$\{(?P<a>[A-Za-z_][\w-]*)(?P<a_path>(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*)\}|'
    r'\$(?P<b>[A-Za-z_][\w-]*)(?P<b_path>(?:\.[A-Za-z_]\w*)*)|<(?P<c>[A-Za-z_][\w-]*)>)"'
)
_NEXT = (
    "next", "next_step", "next_steps", "next_task", "next_tasks", "leads_to", "successors", "followed_by", "downstream",
    "dependents", "feeds", "feeds_into", "unlocks", "blocks", "then", "children", "required_by", "triggers",
    "output_to", "outputs_to", "passes_to",
)  # fmt: skip
"""What a task names that runs after it."""
_FROM = ("input_from", "inputs_from", "from", "uses", "using", "based_on", "data_from", "input_tasks", "source_tasks")
"""What a task names whose results it takes."""
_STORED_AS = ("output", "outputs", "output_key", "output_name", "output_variable", "save_as", "store_as")
"""Where a task names its result."""
_GIVEN = re.compile(r"arg\d+|query|data|inputs?|context")
"""Inputs that a name alone may stand for; `"format": "report"` is none."""
_REFERRING = ("$ref", "ref", "task", "task_id", "from_task", "from", "source", "step")
_PATHS = ("field", "key", "path", "output", "property")
_BARE = re.compile(
    r"<?(?P<of>(?:the )?(?:output|result|answer|response|data)s? (?:of|from) (?:the )?(?:task |step |node )?)?"
    r"(?P<name>[A-Za-z_][\w-]*)(?P<path>(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*)>?",
    re.IGNORECASE,
)
_ENDS = frozenset({"end", "finish", "done", "stop", "exit", "none", "null"})
_CODE = frozenset({"code", "expression", "sql"})
_PART = re.compile(r"[A-Za-z0-9_]{1,100}_from_(?P<task>[A-Za-z_][\w-]{0,100})")
_NUMBERED = re.compile(r"(?:task|step|node|id|s|t|q)?[_-]?(?P<number>\d{1,6})", re.IGNORECASE)


def mend_nodes(nodes: list[Node], repairs: Repairs) -> None:
    """Mend nodes that were tidied up, in place; repeated ones are left out."""
    if len(nodes) > MAX_MENDED:
        return
    _mend_repeated(nodes, repairs)
    by_id = {node.task_id: node for node in nodes}
    loose = [node for node in nodes if node.is_loose]
    stored = _stored_as(loose)
    for node in loose:
        _mend_next(node, by_id, repairs)
    for position, node in enumerate(nodes):
        _mend_doubled(node, {*node.depends, *(earlier.task_id for earlier in nodes[:position])}, repairs)
        _mend_dollars(node, by_id, repairs)
        if node.is_loose:
            _mend_bare(node, by_id, {other.task_id for other in nodes[:position]}, stored, repairs)
        _mend_references(node, by_id, repairs)
        _mend_code(node, by_id, repairs)
        _mend_depends(node, nodes, by_id, repairs)
        _mend_skills(node, by_id, repairs)


def _said(node: Node) -> str:
    return f"{node.text}\n{node.attributes.get('inputs', '')}"


def _rewrite(node: Node, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> bool:
    """Rewrite what a node's work refers to; say whether anything changed."""
    before = _said(node)
    node.text = pattern.sub(replace, node.text)
    if "inputs" in node.attributes:
        node.attributes["inputs"] = pattern.sub(replace, node.attributes["inputs"])
    return _said(node) != before


def _put_depends(node: Node, names: Iterable[str]) -> None:
    node.attributes["depends"] = ",".join(dict.fromkeys(names))
    if not node.attributes["depends"]:
        del node.attributes["depends"]


def _referred(node: Node) -> set[str]:
    return {_task_of(match["name"]) for match in _REFERENCE.finditer(_said(node))}


def _mend_repeated(nodes: list[Node], repairs: Repairs) -> None:
    """An id that stands twice: the same task said twice, or another name where nobody can have meant the second."""
    first: dict[str, int] = {}
    for position, node in enumerate(list(nodes)):
        earlier = first.setdefault(node.task_id, position)
        if earlier == position:
            continue
        same = nodes[earlier]
        if (same.attributes, same.text) == (node.attributes, node.text):
            nodes[position] = same
            repairs.note("A task that stood there twice was taken once", node.task_id)
        elif not any(node.task_id in {*other.depends, *_referred(other)} for other in nodes[position + 1 :]):
            taken = {other.task_id for other in nodes}
            free = next(
                f"{node.task_id}_{number}" for number in range(2, 10_000) if f"{node.task_id}_{number}" not in taken
            )
            repairs.note("A second task with the same id was renamed", free)
            node.attributes["id"] = free
    nodes[:] = list({id(node): node for node in nodes}.values())


def _mend_doubled(node: Node, before: Collection[str], repairs: Repairs) -> None:
    """`{{s1}}` is the text {s1}; where s1 is a task that comes before, its output was meant."""

    def single(match: re.Match[str]) -> str:
        is_task = match["name"] in before and match["name"] != node.task_id
        return "{" + match["name"] + match["path"] + "}" if is_task else match[0]

    if _rewrite(node, _DOUBLED, single):
        repairs.note("Doubled braces around a task's name were read as a reference", node.task_id)


def _mend_dollars(node: Node, by_id: Mapping[str, Node], repairs: Repairs) -> None:
    """A value that is `${s1.answer}`, `$s1` or `<s1>` and nothing else means the output of s1."""

    def refer(match: re.Match[str]) -> str:
        name = match["a"] or match["b"] or match["c"]
        path = match["a_path"] or match["b_path"] or ""
        return '"{' + name + path + '}"' if name in by_id and name != node.task_id else match[0]

    if _rewrite(node, _DOLLARED, refer):
        repairs.note("References such as $s1 were read as {s1}", node.task_id)


def _mend_bare(
    node: Node, by_id: Mapping[str, Node], earlier: Collection[str], stored: Mapping[str, str], repairs: Repairs
) -> None:
    """A value that is `s1`, `s1.answer`, `output of s1` or `{"task": "s1"}` and nothing else means the output of s1.

    In `input_from` any id does; elsewhere a word may be a word, and only ids such as s1 do. Which of both waits is seen
    from their order.
    """
    values = _inputs(node)

    def refer(value: Any, name: str) -> Any:
        if isinstance(value, list):
            return [refer(item, name) for item in value]
        if isinstance(value, dict):
            task = next((value[key] for key in _REFERRING if isinstance(value.get(key), str)), None)
            if task is not None and task in by_id and not value.keys() - {*_REFERRING, *_PATHS}:
                path = next((str(value[key]) for key in _PATHS if isinstance(value.get(key), str)), "")
                return "{" + task + (f".{path}" if path.isidentifier() else "") + "}"
            return {key: refer(item, name) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        meant = stored.get(value.strip("${} "))
        is_name = value.strip()[:1] in ("$", "{") or _GIVEN.fullmatch(name) or name in _FROM
        if meant is not None and meant in earlier and is_name and value.strip() not in by_id:
            return "{" + meant + "}"
        found = _BARE.fullmatch(value.strip())
        if found is None or found["name"] not in by_id or found["name"] == node.task_id:
            return value
        if name not in _FROM and not found["of"] and not _NUMBERED.fullmatch(found["name"]):
            return value
        if name not in _FROM and found["name"] not in earlier:
            raise InvalidPlan(
                f"{name!r} is {found['name']!r}, which comes later. Say in 'depends_on' which of both waits.",
                place=node.place,
            )
        return "{" + found["name"] + found["path"] + "}"

    mended = {name: refer(value, name) for name, value in values.items() if name not in _STORED_AS}
    mended |= {name: value for name, value in values.items() if name in _STORED_AS}
    if mended != values:
        node.attributes["inputs"] = json.dumps({name: mended[name] for name in values})
        repairs.note("Names of tasks that stood for their results were read as references", node.task_id)


def _stored_as(nodes: Sequence[Node]) -> dict[str, str]:
    """The names under which tasks say that they store their results, each where one task alone has it."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        said = {**json.loads(node.attributes.get("metadata", "{}")), **_inputs(node)}
        for field in _STORED_AS:
            held = said.get(field)
            for name in held if isinstance(held, list) else [held]:
                if isinstance(name, str) and name.strip("$").isidentifier():
                    found.setdefault(name.strip("$"), []).append(node.task_id)
    return {name: tasks[0] for name, tasks in found.items() if len(set(tasks)) == 1}


def _mend_next(node: Node, by_id: Mapping[str, Node], repairs: Repairs) -> None:
    """Tasks that are named as what comes next wait for this one."""
    values = _inputs(node)
    for name in [name for name in _NEXT if name in values]:
        given = values[name] if isinstance(values[name], list) else [values[name]]
        said = [str(word).strip() for word in given if isinstance(word, str) or type(word) is int]
        found = [word if word in by_id else _by_number(word, by_id) for word in said]
        is_known = [one is not None or word.lower() in _ENDS for one, word in zip(found, said, strict=True)]
        if len(said) != len(given) or not any(is_known):
            continue  # an input of that name
        if not all(is_known):
            raise InvalidPlan(
                f"{said[is_known.index(False)]!r} comes next, and is no task. Name one, or leave it out.",
                place=node.place,
            )
        for task_id in found:
            if task_id is not None and task_id != node.task_id:
                _put_depends(by_id[task_id], [*by_id[task_id].depends, node.task_id])
        del values[name]
        node.attributes["inputs"] = json.dumps(values)
        repairs.note(f"What {name!r} names was read as what waits for the task", node.task_id)


def _inputs(node: Node) -> dict[str, Any]:
    return dict(json.loads(node.attributes["inputs"])) if "inputs" in node.attributes else {}


def _mend_code(node: Node, by_id: Mapping[str, Node], repairs: Repairs) -> None:
    """Braces in code are code, but for those around a task's name: whoever doubled none of them knew no better."""
    if "inputs" not in node.attributes:
        return
    values = json.loads(node.attributes["inputs"])
    for name in _CODE.intersection(values):
        text = values[name]
        if not isinstance(text, str) or not _is_single(_known_out(text, by_id)):
            continue
        parts = _REFERENCE.split(text)  # text, name, path, text, ...
        mended = ""
        for at in range(0, len(parts), 3):
            mended += escape_braces(parts[at])
            if at + 1 < len(parts):
                written = "{" + parts[at + 1] + parts[at + 2] + "}"
                mended += written if _task_of(parts[at + 1]) in by_id else escape_braces(written)
        if mended != text:
            values[name] = mended
            repairs.note(f"Braces in {name!r} were taken as they stand", node.task_id)
            node.attributes["inputs"] = json.dumps(values)


def _known_out(text: str, by_id: Mapping[str, Node]) -> str:
    """The text without its references to tasks."""
    return _REFERENCE.sub(lambda match: "" if _task_of(match["name"]) in by_id else match[0], text)


def _is_single(text: str) -> bool:
    """Whether a brace stands alone."""
    return "{" in text.replace("{{", "") or "}" in text.replace("}}", "")


def _task_of(name: str) -> str:
    part = _PART.fullmatch(name)
    return part["task"] if part is not None else name


def _mend_references(node: Node, by_id: Mapping[str, Node], repairs: Repairs) -> None:
    """`{S1}` and `{task_1}` can only mean s1 where no task has that name."""

    def refer(match: re.Match[str]) -> str:
        name = match["name"]
        if name in by_id or _PART.fullmatch(name):
            return match[0]
        meant = _by_number(name, by_id)
        return match[0] if meant is None or meant == node.task_id else "{" + meant + match["path"] + "}"

    if _rewrite(node, _REFERENCE, refer):
        repairs.note("References by other names were read as those of tasks", node.task_id)


def _mend_depends(node: Node, nodes: Sequence[Node], by_id: Mapping[str, Node], repairs: Repairs) -> None:
    kept: list[str] = []
    unknown: list[str] = []
    for name in node.depends:
        meant = name if name in by_id else _by_number(name, by_id) or _by_name(name, node, nodes)
        if meant is None:
            unknown.append(name)
        elif meant == node.task_id:
            repairs.note("A task does not wait for itself: that dependency was left out", node.task_id)
        else:
            if meant != name:
                repairs.note(f"The dependency on {name!r} was read as one on {meant!r}", node.task_id)
            kept.append(meant)
    if unknown and _has_own_work(node) and not _referred(node):
        for name in unknown:
            repairs.note(
                f"A dependency on {name!r}, which is no task, was left out: nothing of it is used", node.task_id
            )
        unknown = []
    if kept + unknown != node.depends:
        _put_depends(node, kept + unknown)


def _has_own_work(node: Node) -> bool:
    """Whether a node says with what it works, and so can do without what it is not given."""
    return bool(node.attributes.get("inputs")) or bool(re.search(r"\(\s*[^\s)]", node.text))


def _mend_skills(node: Node, by_id: Mapping[str, Node], repairs: Repairs) -> None:
    """A skill that is the name of another task is a dependency: both are said to be required."""
    skills = re.findall(r"[\w.-]+", node.attributes.get("requires", ""))
    for skill in skills:
        task_id, dot, _ = skill.partition(".")
        says_task = dot or re.fullmatch(r"s\d+", skill)
        if says_task and task_id in by_id and task_id != node.task_id and node.attributes["requires"].count(skill) == 1:
            left = [other for other in skills if other != skill]
            node.attributes["requires"] = ",".join(left)
            _put_depends(node, [*node.depends, task_id])
            repairs.note(f"The requirement {skill!r} is a task, and was read as a dependency", node.task_id)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _by_number(name: str, by_id: Mapping[str, Node]) -> str | None:
    """The one task whose id is the same but for its case, signs, or the word before its number."""
    same = [task_id for task_id in by_id if _key(task_id) == _key(name) and _key(name)]
    if not same and (found := _NUMBERED.fullmatch(name)) is not None:
        for task_id in by_id:
            other = _NUMBERED.fullmatch(task_id)
            if other is not None and int(other["number"]) == int(found["number"]):
                same.append(task_id)
    return same[0] if len(same) == 1 else None


def _by_name(name: str, node: Node, nodes: Sequence[Node]) -> str | None:
    """The one other task that goes by this name, type or description; or whose id stands among its words."""
    for kinds in (False, True):
        called = []
        for other in nodes:
            known = {_key(text) for text in other.names}
            if kinds:
                known = {_key(other.attributes.get("type", "")), _key(other.text.partition("(")[0])}
            if _key(name) and _key(name) in known and other is not node:
                called.append(other.task_id)
        if called:
            return called[0] if len(called) == 1 else None
    words = re.split(r"[^A-Za-z0-9-]+|_", name)
    named = [other.task_id for other in nodes if other.task_id in words]
    return named[0] if len(named) == 1 else None
