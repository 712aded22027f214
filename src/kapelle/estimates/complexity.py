"""How hard a task is, as a factor on what an ordinary task costs and takes: by its type and its place in the graph.

The factors are documented heuristics, and scale what is known of costs and times per unit of complexity; nothing is
learned here. They are not the difficulty that DAAO (arXiv:2509.11079) estimates per query: that is learned from the
words of tasks and what became of them, and moves the chance of success (see success).
"""

from __future__ import annotations

from kapelle.graph import TaskDAG

BASE_COMPLEXITY = {
    "answer": 0.5,
    "lookup": 0.5,
    "respond": 0.5,
    "search": 0.8,
    "summarize": 0.8,
    "test": 1.0,
    "verify": 1.0,
    "review": 1.0,
    "write": 1.0,
    "document": 1.0,
    "deploy": 1.2,
    "analyze": 1.5,
    "analyse": 1.5,
    "debug": 1.5,
    "design": 1.5,
    "implement": 1.5,
    "architecture": 2.0,
    "research": 2.0,
}
"""By task type, for an easy place in the graph. `research` and `test` are documented; the rest is set beside them."""
UNKNOWN_TYPE = 1.0
PER_DEPENDENCY = 0.10
PER_LEVEL = 0.05
MIN_COMPLEXITY, MAX_COMPLEXITY = 0.5, 3.0


def estimate_complexity(task_type: str, *, dependencies: int = 0, depth: int = 0) -> float:
    """Return the complexity of a task with so many direct dependencies, at this level of the graph (roots are at 0).

    >>> estimate_complexity("research")
    2.0
    >>> round(estimate_complexity("test", dependencies=2, depth=1), 3)
    1.26
    """
    base = BASE_COMPLEXITY.get(task_type, UNKNOWN_TYPE)
    factor = base * (1 + PER_DEPENDENCY * dependencies) * (1 + PER_LEVEL * depth)
    return min(max(factor, MIN_COMPLEXITY), MAX_COMPLEXITY)


def estimate_complexities(dag: TaskDAG) -> dict[str, float]:
    """Return the complexity of every task in a graph."""
    return {
        task_id: estimate_complexity(
            dag.tasks[task_id].task_type, dependencies=len(dag.dependencies(task_id)), depth=depth
        )
        for depth, level in enumerate(dag.levels())
        for task_id in level
    }
