"""Whether taking a request apart pays, judged from its words alone; and the arm on which it runs.

Naive decomposition scored below a single model in AOP's ablation (arXiv:2410.02189), so a plan has to promise something
that one agent does not give: independent parts that run at once, an answer that is needed before the next question can
be asked, or work of different kinds. Otherwise one task for the whole request is cheaper and no worse.

The judgement is a documented heuristic over words. It knows neither the agents nor what they can do, and cannot see
hidden hops: "Could a llama give birth twice during the War in Vietnam?" asks for two durations and names none. A model
that plans sees more; `bench/gate.py` measures how much this misses. So a set share of the requests that would be
planned runs on one agent all the same, as a control: outcomes then show what planning gained.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from kapelle.agents import AgentCapability
from kapelle.errors import InvalidInput
from kapelle.graph import Task, TaskDAG, escape_braces
from kapelle.language import parse_facts, split_steps

from .planner import Plan, Planner

Arm = Literal["plan", "single", "control"]
ARMS: tuple[Arm, ...] = get_args(Arm)

MAX_JUDGED_CHARS = 20_000
"""Of a request, what is judged; its beginning says what is wanted, the rest is material."""

MAX_PHRASE_CHARS = 1_000
"""Of one step, what is taken apart into facts: nested without end, it would nest the reading of it."""

# What each thing that a plan can gain is worth, and what planning costs; a positive sum means that it pays. One more
# independent part pays for a plan, one more hop does so with some difficulty, and difficulty alone only at its extreme.
# Set by reason and checked, not fitted, on the development half of recorded plans: see docs/experiments.md.
WEIGHTS: Mapping[str, float] = {"breadth": 1.0, "depth": 0.7, "difficulty": 1.0, "planning": -0.8}

_VERBS = (
    "find", "look up", "search", "get", "tell", "show", "give", "list", "research", "describe", "explain", "identify",
    "determine", "retrieve", "fetch", "compare", "contrast", "calculate", "compute", "evaluate", "summarize",
    "summarise", "write", "draft", "compose", "prepare", "create", "generate", "report", "run", "count", "rank", "add",
    "analyze", "analyse", "book", "send", "translate", "convert", "check", "test", "implement", "build", "deploy",
    "design", "review", "plan", "schedule", "scan", "encrypt", "update", "make", "recommend", "provide", "set", "use",
)  # fmt: skip
_COMPARISON = re.compile(
    r"\b(?:compare|comparing|contrast|versus|vs\.?|than|differences?|between .{1,80}? and|which (?:one|of)|"
    r"ratio|combined|together|in total|sum of|average of)\b",
    re.IGNORECASE,
)
_NESTED = re.compile(
    r"\bthe [a-z][\w' -]{0,40}? (?:of|in|by|from|for|to) (?:the|its|their) [a-z][\w' -]{0,40}? "
    r"(?:of|in|by|that|who|where)\b|"
    r"\b(?:of|by|in|from|to|with) the [a-z][\w -]{0,40}? (?:that|which|who|whose|where)\b|"
    r"'s [a-z]+'s\b|\bfor (?:each|every)\b|\b(?:based on|using|with) (?:that|this|the (?:results?|output|answer))\b"
)
_WORK = re.compile(
    r"\b(?:analy[sz]e|research|investigate|design|implement|build|debug|prove|plan|report|strategy|evaluate|optimi[sz]e|"
    r"architecture|recommend|assess|review)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:if|unless|except|assuming|given that|considering|would|could|at least|at most|within|under|before|after|"
    r"without|only|must|should)\b",
    re.IGNORECASE,
)
_QUESTION_WORDS = re.compile(
    r"^(?:what|who|which|where|when|how)(?:'s|\s+\w+)?\s+(?:is|are|was|were)?\s*", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*\s*%?")
_EXTREME = re.compile(
    r"\b(?:most|least|more|less|fewer|greater|larger|bigger|smaller|longer|shorter|taller|higher|lower|older|younger|"
    r"deeper|faster|slower|earlier|later|maximum|minimum|average|ratios?|total|[a-z]{3,}est)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b[A-Z][\w-]*(?:[ ](?:(?:of|the|de|la|van|von|di)[ ]){0,2}[A-Z][\w-]*)*")
_NO_NAMES = frozenset({
    "a", "an", "the", "if", "in", "on", "at", "for", "to", "with", "of", "by", "and", "or", "after", "before", "among",
    "between", "both", "each", "i", "it", "its", "this", "that", "there", "what", "which", "who", "whom", "whose",
    "when",
    "where", "why", "how", "is", "are", "was", "were", "do", "does", "did", "can", "could", "would", "will", "should",
    "has", "have", "had", "given", "suppose", "assuming", "considering", "please", "also", "then", "next", "first",
    "finally", "out", "from", "as", "my", "we", "you", "usd", "id", "am", "pm",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the words of a request say about taking it apart."""

    decompose: bool
    reason: str
    """For people: what decided."""
    parts: int
    """How many things it asks for."""
    breadth: int
    """How many of them need nothing from each other."""
    depth: int
    """How many have to follow one another."""
    difficulty: float
    """0..1: how much work and how many conditions its words name."""
    score: float
    """The sum by WEIGHTS; a plan is worth it above zero."""

    def features(self) -> dict[str, float]:
        """Return the figures, as outcomes carry them."""
        values = asdict(self)
        return {f"gate_{name}": float(values[name]) for name in ("parts", "breadth", "depth", "difficulty", "score")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """On which arm a request runs, and why."""

    arm: Arm
    verdict: Verdict
    chance: float
    """0..1: where the request fell when lots were drawn for the control arm."""
    control_share: float
    overruled: str = ""
    """Why the arm is another one than the verdict and the lot would have it; empty if they decided."""

    @property
    def reason(self) -> str:
        """Why, for people."""
        if self.overruled:
            return self.overruled
        if self.arm != "control":
            return self.verdict.reason
        return f"drawn as a control ({self.control_share:.0%} of requests that would be planned)"

    def metadata(self) -> dict[str, Any]:
        """Return what a plan's tasks carry, so that outcomes can be compared by arm."""
        return {"arm": self.arm, "arm_reason": self.reason, **self.verdict.features()}


def judge_request(request: str) -> Verdict:
    """Return whether taking a request apart is likely to pay.

    >>> judge_request("What is the capital of France?").decompose
    False
    >>> verdict = judge_request("What are the populations of the capitals of France and Germany?")
    >>> verdict.decompose, verdict.breadth, verdict.depth
    (True, 2, 2)
    """
    text = request[:MAX_JUDGED_CHARS].strip()
    steps = split_steps(text, _VERBS)
    breadth, depth, parts = 0, 0, 0
    for step in steps:
        wide, deep = _shape(step.text)
        parts += wide * deep
        if depth and (step.follows or step.refers_back):
            depth += deep
            breadth = max(breadth, wide)
        else:
            breadth += wide
            depth = max(depth, deep)
    parts, breadth, depth = max(parts, 1), max(breadth, 1), max(depth, 1)
    if breadth > 1 and _COMPARISON.search(text):
        parts, depth = parts + 1, depth + 1
    difficulty = _difficulty(text)
    score = (
        WEIGHTS["breadth"] * (breadth - 1)
        + WEIGHTS["depth"] * (depth - 1)
        + WEIGHTS["difficulty"] * difficulty
        + WEIGHTS["planning"]
    )
    decompose = score > 0
    return Verdict(
        decompose=decompose,
        reason=_explain(decompose, breadth, depth, difficulty),
        parts=parts,
        breadth=breadth,
        depth=depth,
        difficulty=difficulty,
        score=score,
    )


class Gate:
    """Chooses the arm of each request.

    Args:
        control_share: Of the requests that would be planned, the share that runs on a single agent as a control.
        salt: Mixed into the draw: another salt draws other requests.

    Raises:
        InvalidInput: the share lies outside 0..1.
    """

    def __init__(self, *, control_share: float = 0.05, salt: str = "") -> None:
        if not (isinstance(control_share, (int, float)) and 0 <= control_share <= 1):
            raise InvalidInput(f"control_share={control_share!r} is no share. Give a number from 0 to 1.")
        self._share = float(control_share)
        self._salt = salt

    def decide(self, request: str, *, key: str) -> Decision:
        """Return the arm of a request; `key`, such as the run's id, decides the draw: the same key, the same arm."""
        verdict = judge_request(request)
        chance = _draw(f"{self._salt}:{key}")
        arm: Arm = "single" if not verdict.decompose else "control" if chance < self._share else "plan"
        return Decision(arm=arm, verdict=verdict, chance=chance, control_share=self._share)


class GatedPlanner:
    """Plans what is worth a plan, and gives the rest to one agent as one task.

    Args:
        planner: Takes the requests of the arm "plan".
        gate: Decides.
        single_type: The type of the one task of the other arms. Where no agent takes it, everything is planned.
    """

    def __init__(self, planner: Planner, gate: Gate, *, single_type: str = "answer") -> None:
        self._planner = planner
        self._gate = gate
        self._single_type = single_type

    async def plan(self, request: str, agents: Mapping[str, AgentCapability], *, key: str | None = None) -> Plan:
        """Return a plan whose tasks carry the arm; without a `key` the request itself decides the draw."""
        decision = self._gate.decide(request, key=request if key is None else key)
        if decision.arm != "plan" and not _is_taken(self._single_type, agents):
            reason = f"no agent takes a whole request as one task of the type {self._single_type!r}"
            decision = replace(decision, arm="plan", overruled=reason)
        if decision.arm != "plan":
            return single_plan(request, decision, task_type=self._single_type)
        return mark_arm(await self._planner.plan(request, agents), decision)


def _is_taken(task_type: str, agents: Mapping[str, AgentCapability]) -> bool:
    return any(task_type in agent.task_types or "*" in agent.task_types for agent in agents.values())


def single_plan(request: str, decision: Decision, *, task_type: str = "answer") -> Plan:
    """Return the plan of one task that is the whole request."""
    task = Task(
        task_id="s1",
        task_type=task_type,
        description=request,
        inputs={"request": escape_braces(request)},
        metadata=decision.metadata(),
    )
    return Plan(
        request=request,
        graph=TaskDAG([task]),
        planner="gate",
        notes=(f"The request was not taken apart: {decision.reason}.",),
    )


def mark_arm(plan: Plan, decision: Decision) -> Plan:
    """Return the plan with the arm, and why, in the metadata of every task."""
    marked = [_with_metadata(task, decision.metadata()) for task in plan.graph]
    return Plan(
        request=plan.request,
        graph=TaskDAG(marked, version=plan.graph.version),
        planner=plan.planner,
        notes=plan.notes,
        usage=plan.usage,
        cost_usd=plan.cost_usd,
    )


def _with_metadata(task: Task, more: Mapping[str, Any]) -> Task:
    return Task.from_dict({**task.to_dict(), "metadata": {**task.metadata, **more}})


def _shape(step: str) -> tuple[int, int]:
    """Return how many independent things a step asks for, and how many in a row."""
    phrase = _QUESTION_WORDS.sub("", step)[:MAX_PHRASE_CHARS]
    facts = parse_facts(phrase)
    chain = max((_fact_depth(fact) for fact in facts), default=1)
    deep = max(chain, 1 + min(len(_NESTED.findall(step)), 3))
    comparing = _COMPARISON.search(step) is not None or _EXTREME.search(step) is not None
    names = len(_names(step)) if comparing else 0
    if names > 1:
        return names, deep  # each thing that is compared is looked up by itself
    if comparing and re.search(r"\bthan\b", step):
        return 2, deep
    if len(facts) > 1 and (chain > 1 or any(fact.attribute for fact in facts)):
        return len(facts), deep
    return 1, deep


def _names(text: str) -> set[str]:
    """The different names in a text, those of places, people and things, as far as capitals tell."""
    found = set()
    for name in _NAME.findall(text):
        words = name.split()
        while words and words[0].lower() in _NO_NAMES:
            words.pop(0)
        if words and (len(words) > 1 or not text.startswith(words[0])):
            found.add(" ".join(words))
    return found


def _fact_depth(fact: Any) -> int:
    depth = 1
    while not isinstance(fact.of, str):
        fact, depth = fact.of, depth + 1
    return depth


def _difficulty(text: str) -> float:
    """0..1: words of demanding work, conditions, figures and length, each with less effect the more there are."""
    words = len(text.split())
    weight = (
        0.30 * len(_WORK.findall(text))
        + 0.15 * len(_CONDITION.findall(text))
        + 0.08 * len(_NUMBER.findall(text))
        + 0.01 * max(0, words - 12)
    )
    return 1.0 - math.exp(-weight)


def _explain(decompose: bool, breadth: int, depth: int, difficulty: float) -> str:
    found = []
    if breadth > 1:
        found.append(f"{breadth} parts that need nothing from each other")
    if depth > 1:
        found.append(f"{depth} steps that follow one another")
    if difficulty >= 0.5:
        found.append("much work")
    if decompose:
        return "taking it apart pays: " + ", ".join(found or ["demanding work"])
    return "one agent does it as well" + (f", with only {' and '.join(found)}" if found else ": it asks for one thing")


def _draw(key: str) -> float:
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
