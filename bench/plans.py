"""How well dependencies are inferred: recorded plans with their gold edges, every reference hidden.

    python -m bench.plans --data FILE [--json]        FILE as in recorded plans; without --data all four of them

What the inference is given: the request; the steps in their order, named s1, s2, ... by that order; of a step of text
its text with every `#k` replaced by the blank `___`; of a call the tool's name and its arguments, with every variable
(`$var1.field$`, also where a dollar is missing) replaced by the blank, so that the argument's name and what stands
around the variable remain, but neither which variable nor which field; the schemas of the tools (argument and result
names, types, descriptions) from `<name>-apis.json` beside the file, else from any `*-apis.json` at hand. What it is not
given: the gold edges, the labels that name outputs, answers, ids of the source, the list of candidate tools.

Rows are split by the SHA-256 of their request: even first byte `dev`, odd `test`. Rules and weights were made on `dev`
only; `test` is the figure to quote. A step id that a row uses twice counts once, with its first text.

F1 is micro-averaged: hits, inferred and gold edges are counted over all plans, then F1 = 2 hits / (inferred + gold).
By that measure a plan without gold edges can only cost, and "no edges" has F1 0; so `macro_f1` is there as well, the
mean over plans, where nothing inferred for nothing to infer counts 1. Baselines: `chain` (every step needs the one
before) and `parallel` (no edges).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.recorded import BadData, find_recorded
from kapelle.models import ToolDefinition
from kapelle.planning.dependencies import BLANK, PlanStep, infer_dependencies

FILES = (
    "nestful-executable.jsonl.gz",
    "strategyqa-train.jsonl.gz",
    "worfbench-wikihow.jsonl.gz",
    "worfbench-seal_tools.jsonl.gz",
)

LONG = 50
LONG_PLANS = 100

_STEP_REFERENCE = re.compile(r"#\s?\d+")
_VARIABLE = re.compile(r"\$?\bvar_?\d+\b[^$\s\"',)]*(?:[^$\"',)]*\$)?|\$[A-Za-z_][^$]*\$")

Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldPlan:
    """One recorded plan, its references hidden."""

    request: str
    steps: tuple[PlanStep, ...]
    edges: Pairs
    part: str
    """`dev` or `test`."""


def main() -> None:
    """Print a table, or with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", help="a file of plans; may be given more than once")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    try:
        figures = {path.name: measure(path) for path in options.data or find_files()}
    except BadData as error:
        print(f"bench.plans: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if options.json:
        print(json.dumps(next(iter(figures.values())) if len(figures) == 1 else {"files": figures}))
        return
    columns = ("rows", "edge_f1", "exact", "macro_f1", "chain_f1", "chain_macro_f1", "parallel_f1", "parallel_macro_f1")
    print(f"{'':38}" + "".join(f"{name:>18}" for name in columns))
    for name, entry in figures.items():
        for part in ("all", "dev", "test"):
            row = entry if part == "all" else entry[part]
            cells = "".join(f"{row[c]:>18}" if c == "rows" else f"{row[c]:>18.3f}" for c in columns)
            print(f"{name:32}{part:>6}{cells}")
        long = f"; of {LONG} steps {entry['long_p99_ms']:.1f}" if entry["long_p99_ms"] else ""
        print(f"{'':38}  ms a plan: median {entry['p50_ms']:.2f}, 99th percentile {entry['p99_ms']:.2f}{long}")


def find_files() -> list[Path]:
    """Return the recorded plans.

    Raises:
        BadData: the folder is not there.
    """
    return find_recorded(*FILES, inside="plans")


def measure(path: Path) -> dict[str, Any]:
    """Infer the edges of every plan in a file and compare them with the gold ones."""
    plans = load_plans(path)
    tools = load_tools(path)
    inferred: list[Pairs] = []
    times: list[float] = []
    infer_dependencies(plans[0].steps, request=plans[0].request, tools=tools)  # reads the weights
    for plan in plans:
        edges = infer_dependencies(plan.steps, request=plan.request, tools=tools)
        times.append(time_ms(plan, tools))
        inferred.append(frozenset((edge.source, edge.target) for edge in edges))
    times.sort()
    figures: dict[str, Any] = {"file": path.name, **compare(plans, inferred)}
    for part in ("dev", "test"):
        chosen = [at for at, plan in enumerate(plans) if plan.part == part]
        figures[part] = compare([plans[at] for at in chosen], [inferred[at] for at in chosen])
    long = [time_ms(plan, tools) for plan in join_plans(plans)]
    figures["long_p99_ms"] = round(_percentile_99(long), 3) if long else None
    figures["p50_ms"] = round(times[len(times) // 2], 3)
    figures["p99_ms"] = round(_percentile_99(times), 3)
    return figures


def time_ms(plan: GoldPlan, tools: Mapping[str, ToolDefinition]) -> float:
    """Return how long the inference takes: the best of three, for other work on the machine is not its own."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        infer_dependencies(plan.steps, request=plan.request, tools=tools)
        times.append((time.perf_counter() - start) * 1000)
    return min(times)


def join_plans(plans: Sequence[GoldPlan]) -> list[GoldPlan]:
    """Return plans of `LONG` steps, made of plans that follow each other, to see how the time grows."""
    joined: list[GoldPlan] = []
    steps: list[PlanStep] = []
    requests: list[str] = []
    for plan in plans:
        steps += plan.steps
        requests.append(plan.request)
        if len(steps) >= LONG and len(joined) < LONG_PLANS:
            numbered = tuple(replace(step, id=f"s{number}") for number, step in enumerate(steps[:LONG], 1))
            joined.append(GoldPlan(request=" ".join(requests), steps=numbered, edges=frozenset(), part=""))
            steps, requests = [], []
    return joined


def compare(plans: Sequence[GoldPlan], inferred: Sequence[Pairs]) -> dict[str, Any]:
    """Return the figures of inferred edges and of the two baselines."""
    chains = [
        frozenset(zip((s.id for s in plan.steps), (s.id for s in plan.steps[1:]), strict=False)) for plan in plans
    ]
    nothing: list[Pairs] = [frozenset() for _ in plans]
    gold = [plan.edges for plan in plans]
    exact = sum(one == other for one, other in zip(gold, inferred, strict=True))
    return {
        "rows": len(plans),
        "edge_f1": round(micro_f1(gold, inferred), 4),
        "exact": round(exact / len(plans), 4) if plans else 0.0,
        "macro_f1": round(macro_f1(gold, inferred), 4),
        "chain_f1": round(micro_f1(gold, chains), 4),
        "chain_macro_f1": round(macro_f1(gold, chains), 4),
        "parallel_f1": round(micro_f1(gold, nothing), 4),
        "parallel_macro_f1": round(macro_f1(gold, nothing), 4),
    }


def micro_f1(gold: Sequence[Pairs], inferred: Sequence[Pairs]) -> float:
    """Return F1 of all edges of all plans together; 0 where there is no edge at all."""
    hits = sum(len(one & other) for one, other in zip(gold, inferred, strict=True))
    edges = sum(map(len, gold)) + sum(map(len, inferred))
    return 2 * hits / edges if edges else 0.0


def macro_f1(gold: Sequence[Pairs], inferred: Sequence[Pairs]) -> float:
    """Return the mean F1 of the plans; 1 for a plan with no edge where none is inferred."""
    each = [
        2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0
        for one, other in zip(gold, inferred, strict=True)
    ]
    return sum(each) / len(each) if each else 0.0


def load_plans(path: Path) -> list[GoldPlan]:
    """Return the plans of a file of JSON lines, gzip-compressed or not.

    Raises:
        BadData: it is missing, or a line is no plan; the message names the line.
    """
    plans = []
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            plans.append(read_plan(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadData(f"{path}, line {number}: no plan with request, steps and edges ({error!r}).") from None
    if not plans:
        raise BadData(f"{path} holds no plans.")
    return plans


def read_plan(row: Mapping[str, Any]) -> GoldPlan:
    """Return the plan of a row, its references hidden."""
    names: dict[str, str] = {}
    steps = []
    for entry in row["steps"]:
        given = str(entry["id"])
        if given in names:
            continue
        names[given] = f"s{len(names) + 1}"
        arguments = entry.get("arguments", {})
        if "text" not in entry and "name" not in entry:
            raise KeyError("text or name")
        steps.append(
            PlanStep(
                id=names[given],
                text=_STEP_REFERENCE.sub(BLANK, str(entry.get("text") or "")),
                tool=str(entry.get("name") or ""),
                arguments={str(key): hide_variables(value) for key, value in arguments.items()},
            )
        )
    request = str(row["request"])
    edges = frozenset((names[str(source)], names[str(target)]) for source, target in row["edges"])
    part = "dev" if hashlib.sha256(request.encode()).digest()[0] % 2 == 0 else "test"
    return GoldPlan(request=request, steps=tuple(steps), edges=edges, part=part)


def hide_variables(value: Any) -> Any:
    """Return an argument with every variable in it replaced by the blank."""
    if isinstance(value, str):
        return _VARIABLE.sub(BLANK, value)
    if isinstance(value, Mapping):
        return {key: hide_variables(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_variables(item) for item in value]
    return value


def load_tools(path: Path) -> dict[str, ToolDefinition]:
    """Return the schemas of the tools that a file's plans call, by name; none where no schema is at hand.

    They are in `<name>-apis.json` beside the file; else in any `*-apis.json` beside it or beside the recorded plans.
    """
    beside = path.parent / (path.name.split(".jsonl")[0] + "-apis.json")
    places = [beside] if beside.exists() else [*sorted(path.parent.glob("*-apis.json")), *_recorded_tools()]
    tools: dict[str, ToolDefinition] = {}
    for place in places:
        try:
            for entry in json.loads(_read_text(place)):
                tools.setdefault(entry["name"], read_tool(entry))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadData(f"{place}: no list of tools with their names ({error!r}).") from None
    return tools


def _recorded_tools() -> list[Path]:
    try:
        return sorted(find_files()[0].parent.glob("*-apis.json"))
    except BadData:
        return []


def read_tool(entry: Mapping[str, Any]) -> ToolDefinition:
    """Return the schema of one entry of an `-apis.json`."""
    takes: dict[str, Any] = {}
    for key in ("query_parameters", "path_parameters", "parameters", "body_parameters"):
        found = entry.get(key)
        takes.update(found if isinstance(found, Mapping) else {})
    gives: dict[str, Any] = {}
    for key in ("output_parameters", "output_parameter", "results", "responses"):
        found = entry.get(key)
        gives.update(found if isinstance(found, Mapping) else {})
    return ToolDefinition(
        name=str(entry["name"]),
        description=str(entry.get("description") or ""),
        parameters={"properties": takes},
        outputs=gives,
    )


def _percentile_99(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadData(f"{path} cannot be read ({error}).") from None


if __name__ == "__main__":
    main()
