"""The JSON schema of a plan: what can be forbidden before a weak model writes it.

By position, task k has the id sk and may wait for s1 to s(k-1) only, so that no circle can be written, and nothing that
is not there can be waited for. Servers that turn a schema into a grammar take that; the strict modes of hosted
providers take no tuples, and get one task schema for all positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kapelle.agents import AgentCapability

from .asking import MAX_PLANNED_TASKS

POSITIONS = 12
"""Of a plan by position. The schema grows with its square: 12 positions are 10 KB, 50 would be 60 KB."""
_TEXT: Mapping[str, Any] = {"type": "string"}
_MAX_CHARS = {"name": 40, "value": 2_000, "description": 600}
"""Of the texts of a plan by position: weak models repeat themselves until something stops them."""


def plan_schema(agents: Mapping[str, AgentCapability], *, by_position: bool) -> dict[str, Any]:
    """Return the schema of a plan for these agents.

    >>> schema = plan_schema({}, by_position=True)
    >>> schema["$defs"]["task3"]["properties"]["depends_on"]["items"]["enum"]
    ['s1', 's2']
    """
    types, skills = _words(agents)
    if by_position:
        tasks: dict[str, Any] = {
            "anyOf": [  # as many items as positions: no more may follow, and servers differ in how to say that
                {
                    "type": "array",
                    "prefixItems": [{"$ref": f"#/$defs/task{number}"} for number in range(1, count + 1)],
                    "minItems": count,
                    "maxItems": count,
                }
                for count in range(1, POSITIONS + 1)
            ]
        }
        defs = {f"task{number}": _task(number, types, skills) for number in range(1, POSITIONS + 1)}
        return {**_plan(tasks), "$defs": {**defs, "inputs": _inputs(bounded=True), "type": types, "requires": skills}}
    task = _object(
        id={"type": "string", "pattern": "^s[1-9][0-9]?$"},
        type=types,
        description=_TEXT,
        inputs=_inputs(bounded=False),
        depends_on={"type": "array", "items": {"type": "string", "pattern": "^s[1-9][0-9]?$"}},
        requires=skills,
    )
    return _plan({"type": "array", "items": task, "maxItems": MAX_PLANNED_TASKS})


def _plan(tasks: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": "plan", **_object(tasks=tasks)}


def _object(**properties: Any) -> dict[str, Any]:
    """An object as strict modes want it: every property required, none added."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _inputs(*, bounded: bool) -> dict[str, Any]:
    # Pairs, because strict modes allow no free-form objects.
    pair = _object(name=_text("name", bounded=bounded), value=_text("value", bounded=bounded))
    return {"type": "array", "items": pair, "maxItems": 20}


def _text(name: str, *, bounded: bool) -> dict[str, Any]:
    # OpenAI's strict mode takes no lengths, and is left for schemas that have them.
    return {**_TEXT, "maxLength": _MAX_CHARS[name]} if bounded else dict(_TEXT)


def _task(number: int, types: Mapping[str, Any], skills: Mapping[str, Any]) -> dict[str, Any]:
    earlier = [f"s{other}" for other in range(1, number)]
    return _object(
        id={"const": f"s{number}"},
        type={"$ref": "#/$defs/type"},
        description=_text("description", bounded=True),
        inputs={"$ref": "#/$defs/inputs"},
        depends_on=_some_of(earlier),
        requires={"$ref": "#/$defs/requires"},
    )


def _words(agents: Mapping[str, AgentCapability]) -> tuple[dict[str, Any], dict[str, Any]]:
    kinds = list(dict.fromkeys(kind for agent in agents.values() for kind in agent.task_types))
    is_free = not kinds or "*" in kinds
    skills = sorted({skill for agent in agents.values() for skill in agent.skills})
    return (dict(_TEXT) if is_free else {"type": "string", "enum": kinds}), _some_of(skills)


def _some_of(words: list[str]) -> dict[str, Any]:
    items = {"type": "string", "enum": words} if words else dict(_TEXT)
    return {"type": "array", "items": items, "maxItems": len(words)}
