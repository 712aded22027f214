"""Hypothesis strategies for tasks and graphs: everything that is valid, the odd included."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from kapelle.graph import Task, TaskDAG, escape_braces

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "{{x}}",
        '"',
        "'",
        "\\",
        "\\n",
        "a | b",
        "]]>",
        "&amp;",
        "<b>",
        "\x00\x1f\r\n\t",
        "\ufffe",
        "1",
        "f(x)",
        "é😀",
    ]
)
"""Texts with every character that UTF-8 has, and those that files and markup trip over."""
KEYS = TEXTS | st.sampled_from(["query", "arg1", "arg2", "limit", "true"])
SKILLS = TEXTS.filter(bool)
TASK_IDS = ("s1", "b-2", "_", "End", "a" * 128)
TASK_TYPES = st.sampled_from(["search", "think", "web-search", "write tests", "sql", "f", "größe", "a,b", "x{y}"])


def json_values(texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Any]:
    """Plain JSON values, nested a little."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=5,
    )


def input_texts(earlier: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Texts of inputs: literal braces doubled, references to earlier tasks only."""
    parts = TEXTS.map(escape_braces) | references(earlier)
    return parts | st.lists(parts, min_size=2, max_size=3).map("".join)


def references(earlier: tuple[str, ...]) -> st.SearchStrategy[str]:
    """References in all their forms to one of these tasks."""
    if not earlier:
        return st.just("{{s1}}")
    forms = st.sampled_from(["{%s}", "{%s.rate}", "{%s[2]}", "{city_1_from_%s}", "{%s[0].name}"])
    return st.builds(lambda form, task_id: str(form % task_id), forms, st.sampled_from(earlier))


def named_strategies() -> st.SearchStrategy[Any]:
    """Strategies as a plan names them, in short and in full."""
    agents = st.sampled_from(["small", "large", "é😀", "01", "a|b"])
    checks = st.sampled_from(["well_formed", "tests"]) | st.fixed_dictionaries({"verifier": agents})
    return st.recursive(
        agents,
        lambda inner: (
            st.fixed_dictionaries({"single": agents})
            | st.fixed_dictionaries(
                {"cascade": st.fixed_dictionaries({"cheap": agents, "check": checks, "strong": inner})}
            )
            | st.fixed_dictionaries(
                {"vote": st.lists(agents, min_size=2, unique=True)}, optional={"escalate_to": inner}
            )
        ),
        max_leaves=3,
    )


@cache
def tasks(task_id: str, earlier: tuple[str, ...]) -> st.SearchStrategy[Task]:
    """One valid task that may wait for any of the earlier ones."""
    return st.builds(
        Task,
        task_id=st.just(task_id),
        task_type=TASK_TYPES,
        description=TEXTS,
        depends_on=st.lists(st.sampled_from(earlier), max_size=3).map(tuple) if earlier else st.just(()),
        inputs=st.dictionaries(KEYS, json_values(input_texts(earlier)), max_size=3),
        requirements=st.frozensets(SKILLS, max_size=2),
        priority=st.integers(-5, 5),
        deadline_s=st.none() | st.floats(min_value=0.001, allow_infinity=False),
        timeout_s=st.none() | st.floats(min_value=0.001, allow_infinity=False),
        retries=st.none() | st.integers(0, 9),
        strategy=st.none() | named_strategies(),
        risk=st.sampled_from(["low", "medium", "high"]),
        metadata=st.dictionaries(TEXTS, json_values(), max_size=2),
    )


@st.composite
def full_graphs(draw: st.DrawFn, max_size: int = 4) -> TaskDAG:
    """Valid graphs whose tasks use every field, in an order that need not be topological."""
    size = draw(st.integers(0, max_size))
    made = [draw(tasks(TASK_IDS[position], TASK_IDS[:position])) for position in range(size)]
    return TaskDAG(draw(st.permutations(made)), version=draw(st.integers(1, 9)))


@st.composite
def plain_graphs(draw: st.DrawFn, max_size: int = 9) -> TaskDAG:
    """Valid graphs of bare tasks: all that matters is their edges."""
    size = draw(st.integers(0, max_size))
    made = []
    for number in range(size):
        earlier = [f"t{other}" for other in range(number)]
        depends_on = draw(st.lists(st.sampled_from(earlier), max_size=4, unique=True)) if earlier else []
        made.append(Task(task_id=f"t{number}", task_type="work", depends_on=tuple(depends_on)))
    return TaskDAG(draw(st.permutations(made)))
