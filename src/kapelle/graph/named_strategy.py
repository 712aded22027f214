"""The way in which a task is to be done, where whoever made the plan says so: plain values, in one form.

    {"single": "a"}                                                              one agent
    {"cascade": {"cheap": "a", "check": "well_formed", "strong": {"single": "b"}}}
    {"vote": {"agents": ["a", "b", "c"], "min_agreement": 2, "escalate_to": {"single": "d"}}}

People write less: `a` for one agent, also where a strategy stands within another; the agents of a vote as a list, with
`escalate_to` and `min_agreement` beside it; `check: {verifier: judge}`. Only the form is known here. What a strategy
does, which checks there are, and whether its agents exist is asked where the plan is routed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from kapelle.errors import InvalidGraph

CheckKind = Literal["well_formed", "tests", "verifier"]
CHECK_KINDS: tuple[CheckKind, ...] = get_args(CheckKind)
"""What an answer may be held against; a verifier is an agent that is named too."""
MAX_DEPTH = 8
"""Strategies within strategies; a plan that nests deeper is no plan but an attack."""
_KINDS = ("single", "cascade", "vote")
_BESIDE_VOTE = ("min_agreement", "escalate_to")
_IN_CASCADE = ("cheap", "check", "agent", "strong")
_WAY_OUT = "Use an agent's id, {single: AGENT}, {cascade: {cheap: A, check: well_formed, strong: B}} or {vote: [A, B]}."


def read_strategy(value: Any, *, place: str) -> dict[str, Any]:
    """Return a strategy in its one form.

    Args:
        value: The plain values, in the short form or the long one, or a value that has them as `to_dict()`, as the
            strategies of `kapelle.strategies` do.
        place: What the strategy belongs to, for errors.

    Raises:
        InvalidGraph: it has another form; the message starts with `place`.
    """
    return _read(value, place, 0)


def named_agents(strategy: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every agent that a strategy in its one form names, in the order in which it comes to them."""
    ((kind, inner),) = strategy.items()
    if kind == "single":
        return (inner,)
    judge = (inner["agent"],) if "agent" in inner else ()
    first = (inner["cheap"], *judge) if kind == "cascade" else tuple(inner["agents"])
    further = inner.get("strong" if kind == "cascade" else "escalate_to")
    return tuple(dict.fromkeys((*first, *(() if further is None else named_agents(further)))))


def _read(value: Any, place: str, depth: int) -> dict[str, Any]:
    if depth >= MAX_DEPTH:
        raise InvalidGraph(f"{place} has strategies within strategies deeper than {MAX_DEPTH} levels. Flatten it.")
    if not isinstance(value, (str, Mapping)) and callable(written := getattr(type(value), "to_dict", None)):
        value = written(value)
    if isinstance(value, str):
        return {"single": _agent(value, place)}
    if not isinstance(value, Mapping):
        raise InvalidGraph(f"{place} is a {type(value).__name__}. {_WAY_OUT}")
    kinds = [kind for kind in _KINDS if kind in value]
    if len(kinds) != 1:
        what = "both " + " and ".join(kinds) if kinds else f"{_shown(value)}, which is no strategy"
        raise InvalidGraph(f"{place} is {what}. {_WAY_OUT}")
    kind = kinds[0]
    _refuse_others(value, (kind, *_BESIDE_VOTE) if kind == "vote" else (kind,), place)
    if kind == "single":
        return {"single": _agent(value["single"], f"{place}[single]")}
    if kind == "cascade":
        return {"cascade": _cascade(value["cascade"], f"{place}[cascade]", depth)}
    inner = value["vote"]
    if isinstance(inner, (list, tuple)):
        inner = {"agents": inner, **{name: value[name] for name in _BESIDE_VOTE if name in value}}
    elif len(value) > 1:
        raise InvalidGraph(f"{place}: move {', '.join(name for name in value if name != 'vote')} into the vote.")
    return {"vote": _vote(inner, f"{place}[vote]", depth)}


def _cascade(value: Any, place: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidGraph(f"{place} is a {type(value).__name__}. Give {{cheap: A, check: well_formed, strong: B}}.")
    _refuse_others(value, _IN_CASCADE, place)
    missing = [name for name in ("cheap", "check", "strong") if name not in value]
    if missing:
        raise InvalidGraph(f"{place} has no {missing[0]!r}. A cascade is {{cheap: A, check: well_formed, strong: B}}.")
    check, judge = value["check"], value.get("agent")
    if isinstance(check, Mapping) and len(check) == 1 and judge is None:
        ((check, judge),) = check.items()
    if not isinstance(check, str):
        raise InvalidGraph(f"{place}[check] is {_shown(check)}; give the name of a check, or {{verifier: AGENT}}.")
    if check not in CHECK_KINDS:
        raise InvalidGraph(f"{place}[check]: there is no check {check!r:.40}. Use one of {', '.join(CHECK_KINDS)}.")
    if (check == "verifier") != (judge is not None):
        raise InvalidGraph(
            f"{place}[check]: {{verifier: AGENT}} names the agent that judges, and no other check has one."
        )
    return {
        "cheap": _agent(value["cheap"], f"{place}[cheap]"),
        "check": check,
        **({} if judge is None else {"agent": _agent(judge, f"{place}[check]")}),
        "strong": _read(value["strong"], f"{place}[strong]", depth + 1),
    }


def _vote(value: Any, place: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidGraph(f"{place} is a {type(value).__name__}. Give a list of agents.")
    _refuse_others(value, ("agents", *_BESIDE_VOTE), place)
    agents = value.get("agents")
    if not isinstance(agents, (list, tuple)):
        raise InvalidGraph(f"{place} has no list of agents. Give two agents or more.")
    least = value.get("min_agreement", 2)
    if not isinstance(least, int) or isinstance(least, bool) or not 2 <= least <= len(agents):
        raise InvalidGraph(
            f"{place} of {len(agents)} agents has the min_agreement {_shown(least)}; give a whole number from 2 to the "
            f"number of agents."
        )
    named = [_agent(agent, f"{place}[{number}]") for number, agent in enumerate(agents)]
    if len(set(named)) < len(named):
        raise InvalidGraph(f"{place} names an agent twice: {', '.join(named)}. Each has one voice.")
    further = value.get("escalate_to")
    escalation = {} if further is None else {"escalate_to": _read(further, f"{place}[escalate_to]", depth + 1)}
    return {"agents": named, "min_agreement": least, **escalation}


def _agent(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidGraph(f"{place} is {_shown(value)}; give an agent's id.")
    return str.__str__(value)


def _refuse_others(value: Mapping[Any, Any], known: tuple[str, ...], place: str) -> None:
    others = [name for name in value if name not in known]
    if others:
        raise InvalidGraph(f"{place} has no field {_shown(others[0])}. Use {', '.join(known)}.")


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if isinstance(value, (Mapping, list, tuple)) and not value else f"{value!r:.80}"
