"""The words of graph planning: the documented prompts, and what this project's own rules add to them.

The texts are files in `planning/prompts`, so that they can be read and changed as texts. The documented system prompt
speaks of levels and has the model write observations and answers; the team prompt that follows it says how a plan
really runs: as data flow, by others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from kapelle.agents import AgentCapability
from kapelle.graph import TaskDAG, render_output

FUNCTION_TYPES = {
    "think": "Reasoning before taking actions",
    "plan": "Break down the question into sub-tasks with explicit dependencies",
    "search": "Execute search queries (use | separator for parallel searches)",
    "observation": "Return search results from environment",
    "reflection": "Evaluate current plan and modify if needed",
    "answer": "Provide final response to user query",
}
"""The six functions of graph planning (arXiv:2510.25320), with what each is for."""

MAX_OBSERVATION_CHARS = 2_000
"""Of each output, what a reflection is shown: enough to judge the plan by, and a bound on what asking costs."""


def read_prompt(name: str) -> str:
    """Return a prompt as it is written in its file."""
    return resources.files("kapelle.planning").joinpath("prompts", f"{name}.txt").read_text("utf-8")


# The two documented constants are part of the package, as its code is.
GAP_SYSTEM_PROMPT = read_prompt("gap_system")
"""What a planning model is told first."""
GAP_USER_PROMPT = read_prompt("gap_user")
"""What it is asked; `{query}` stands for the user's words."""


def fill(template: str, **words: str) -> str:
    """Return a prompt with its words put in. Other braces stay: prompts teach `{s1}`, and so may the words.

    >>> fill("{query} {s1}", query="What is {s2}?")
    'What is {s2}? {s1}'
    """
    marks = re.compile(r"\{(" + "|".join(map(re.escape, words)) + r")\}")
    return marks.sub(lambda match: words[match[1]], template)  # one pass: words that are in are not searched


def describe_functions(agents: Mapping[str, AgentCapability]) -> str:
    """Return what the agents take, a line each; agents that take and describe the same share one."""
    lines = []
    for agent_id, agent in agents.items():
        skills = f" (skills: {', '.join(sorted(agent.skills))})" if agent.skills else ""
        lines.append(f"- {', '.join(agent.task_types)}: {agent.description or agent_id}{skills}")
    return "\n".join(dict.fromkeys(lines)) or "- none is known"


def describe_reflection(
    graph: TaskDAG,
    observations: Mapping[str, Any],
    failures: Mapping[str, str],
    agents: Mapping[str, AgentCapability],
) -> str:
    """Return what a model is asked when it is to reflect on a plan that is under way."""
    found = {task_id: render_output(output)[:MAX_OBSERVATION_CHARS] for task_id, output in observations.items()}
    return fill(
        read_prompt("gap_reflection"),
        graph=graph.to_xml(),
        observations=json.dumps(found, ensure_ascii=False, indent=1) if found else "nothing yet",
        failures=json.dumps(dict(failures), ensure_ascii=False, indent=1) if failures else "none",
        functions=describe_functions(agents),
    )
