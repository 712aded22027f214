from __future__ import annotations

import re

from hypothesis import given

from kapelle.graph import Task, TaskDAG
from tests.strategies.graphs import full_graphs

LINE = re.compile(
    r"""flowchart\ (LR|TD)
    | \ \ n\d+\["[^"`<>]*(<br/>[^"`<>]*)*"\]
    | \ \ n\d+\ -->\ n\d+
    | \ \ classDef\ \w+\ [\w:#,\ -]+
    | \ \ class\ n\d+(,n\d+)*\ \w+
    | \ \ linkStyle\ \d+(,\d+)*\ stroke-width:3px""",
    re.VERBOSE,
)


@given(full_graphs())
def test_every_line_is_one_that_mermaid_knows(dag: TaskDAG) -> None:
    status = dict.fromkeys(dag.tasks, "done")
    text = dag.to_mermaid(status=status, notes=dict.fromkeys(dag.tasks, '`"]'), critical_path=dag.critical_path().tasks)
    for line in text.removesuffix("\n").split("\n"):
        assert LINE.fullmatch(line), line


def test_words_of_mermaid_are_safe_as_ids_and_markup_is_escaped() -> None:
    dag = TaskDAG(
        [
            Task(task_id="end", task_type="graph", description='say "hi" <b>\n[now]'),
            Task(task_id="class", task_type="click", depends_on=("end",)),
        ]
    )
    assert dag.to_mermaid(direction="TD", status={"end": "failed"}).splitlines() == [
        "flowchart TD",
        '  n0["end · graph · failed<br/>say #34;hi#34; #60;b#62; #91;now#93;"]',
        '  n1["class · click"]',
        "  n0 --> n1",
        "  classDef failed fill:#fee2e2,stroke:#b91c1c,color:#0f172a",
        "  class n0 failed",
    ]
