"""Hypothesis strategies for tasks and graphs: everything that is valid, the odd included."""

from __future__ import annotations

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
TASK_TYPES = st.sampled_from(["search", "think", "web-search", "write tests", "sql", "f", "größe", "a,b", "x{y}"])


def json_values(texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Any]:
    """Plain JSON values, nested a little."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=5,
    )


@st.composite
def input_texts(draw: st.DrawFn, earlier: list[str]) -> str:
    """Texts of inputs: literal braces doubled, references to earlier tasks only."""
    parts = draw(st.lists(TEXTS.map(escape_braces) | references(earlier), min_size=1, max_size=3))
    return "".join(parts)


def references(earlier: list[str]) -> st.SearchStrategy[str]:
    """References in all their forms to one of these tasks."""
    if not earlier:
        return st.just("{{s1}}")
    forms = st.sampled_from(["{%s}", "{%s.rate}", "{%s[2]}", "{city_1_from_%s}", "{%s[0].name}"])
    return st.builds(lambda form, task_id: str(form % task_id), forms, st.sampled_from(earlier))


@st.composite
def tasks(draw: st.DrawFn, task_id: str, earlier: list[str]) -> Task:
    """One valid task that may wait for any of the earlier ones."""
    texts = input_texts(earlier)
    return Task(
        task_id=task_id,
        task_type=draw(TASK_TYPES),
        description=draw(TEXTS),
        depends_on=tuple(draw(st.lists(st.sampled_from(earlier), max_size=3))) if earlier else (),
        inputs=draw(st.dictionaries(KEYS, json_values(texts), max_size=3)),
        requirements=draw(st.frozensets(SKILLS, max_size=2)),
        priority=draw(st.integers(-5, 5)),
        deadline_s=draw(st.none() | st.floats(min_value=0.001, allow_infinity=False)),
        risk=draw(st.sampled_from(["low", "medium", "high"])),
        metadata=draw(st.dictionaries(TEXTS, json_values(), max_size=2)),
    )


@st.composite
def full_graphs(draw: st.DrawFn, max_size: int = 5) -> TaskDAG:
    """Valid graphs whose tasks use every field, in an order that need not be topological."""
    names = draw(
        st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True), max_size=max_size, unique=True)
    )
    made = [draw(tasks(name, names[:position])) for position, name in enumerate(names)]
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
