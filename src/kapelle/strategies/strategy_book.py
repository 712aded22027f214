"""The strategies that pay, by type of task: found in a log, kept in a file, handed to the optimiser.

A type that several agents tried together is searched (see strategies). A type without such tasks borrows: strategies
that pay elsewhere are estimated from what each of their agents did alone at this type, with the dependence that was
measured elsewhere (see strategy_parts), and are taken only if their lower bound beats what single agents are expected
to reach at that cost.

A book is a value: it is made anew from a longer log. Its file is plain JSON and untrusted.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kapelle.documents import parse_json, read_text, write_beside_then_rename
from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedOutcome, LoggedTask
from kapelle.ledger import Outcome
from kapelle.redaction import get_logger

from .checks import Checks
from .strategy import Check, Single, agents_of, strategy_from_dict, strategy_to_dict
from .strategy_estimate import StrategyEstimate
from .verdict import Verdict

logger = get_logger(__name__)

FORMAT, VERSION = "kapelle strategies", 1
MAX_TYPES = 10_000
"""Of a file."""
MAX_ENTRIES = 1_000
"""Of one type in a file."""
MIN_ALONE = 30
"""Tasks that each agent must have done alone before a strategy is borrowed."""
_FIGURES = ("cost_usd", "seconds", "quality", "quality_lower", "quality_sd", "gain")


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyBook:
    """What pays for which type of task.

    >>> StrategyBook().for_task("search", ["small", "large"])
    ()
    """

    entries: Mapping[str, tuple[StrategyEstimate, ...]] = field(default_factory=dict)
    """Task type to its strategies, cheapest first, and then every agent alone, as measured on the same log."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Task type to what came of the search."""

    @classmethod
    def from_tasks(
        cls,
        tasks: Iterable[LoggedTask],
        *,
        checks: Checks | None = None,
        examine: Sequence[Check] = (Check(kind="well_formed"),),
        seed: int = 0,
    ) -> Self:
        """Search every type of task in a log; about a second for 700 tasks of 40 agents."""
        # NumPy is loaded here, so that a run without history does not wait for it.
        from .replay import LoggedTable
        from .search import search_strategies
        from .strategy_parts import measure_dependence

        by_type: dict[str, list[LoggedTask]] = defaultdict(list)
        for task in tasks:
            if task.outcomes:
                by_type[task.task_type].append(task)
        entries: dict[str, tuple[StrategyEstimate, ...]] = {}
        notes: dict[str, str] = {}
        dependences = {}
        for task_type, members in by_type.items():
            table = LoggedTable.build(members, checks=checks, examine=examine)
            search = search_strategies(table, seed=seed)
            entries[task_type] = (*search.kept, *search.singles)
            notes[task_type] = search.note
            dependences[task_type] = measure_dependence(table)
            logger.info("strategies for %r: %s", task_type, search.note)
        found = {task_type: _strategies(estimates) for task_type, estimates in entries.items()}
        for task_type, measured in dependences.items():
            if measured is None:
                borrowed = _borrow(task_type, entries, found, dependences)
                if borrowed:
                    entries[task_type] = (*borrowed, *entries[task_type])
                    notes[task_type] += f" {len(borrowed)} that pay elsewhere are estimated from their parts."
        return cls(entries=entries, notes=notes)

    @classmethod
    def from_outcomes(
        cls,
        outcomes: Iterable[Outcome],
        *,
        validators: Checks | None = None,
        examine: Sequence[Check] = (Check(kind="well_formed"),),
        seed: int = 0,
    ) -> Self:
        """Search the ledger's outcomes; several agents' outcomes of one task of one run are a pair."""
        tasks, checks = read_outcomes(outcomes, validators)
        return cls.from_tasks(tasks, checks=checks, examine=examine, seed=seed)

    def for_task(self, task_type: str, agents: Collection[str]) -> tuple[StrategyEstimate, ...]:
        """Return the strategies that pay for this type and whose agents are all there still, cheapest first.

        After them stands each of these agents alone, on the same log: the scale on which strategies were measured.
        """
        there = set(agents)
        return tuple(one for one in self.entries.get(task_type, ()) if there.issuperset(agents_of(one.strategy)))

    def save(self, path: Path | str) -> None:
        """Write the book into a file, whole or not at all.

        Raises:
            InvalidInput: it cannot be written.
        """
        data = {
            "format": FORMAT,
            "version": VERSION,
            "task_types": {
                task_type: {
                    "note": self.notes.get(task_type, ""),
                    "strategies": [_to_dict(estimate) for estimate in estimates],
                }
                for task_type, estimates in self.entries.items()
            },
        }
        write_beside_then_rename(Path(path), json.dumps(data, indent=1, allow_nan=False).encode())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a book that `save` wrote.

        Raises:
            NotFound: there is no such file.
            InvalidInput: it is something else, or of a later version, or an entry is malformed; the message says where.
        """
        data = parse_json(read_text(path), place=str(path))
        types = data.get("task_types") if isinstance(data, dict) and data.get("format") == FORMAT else None
        if not isinstance(types, dict) or len(types) > MAX_TYPES:
            raise InvalidInput(f"{str(path)!r} is no book of strategies. Make one from a log, or remove it.")
        if data.get("version") != VERSION:
            raise InvalidInput(
                f"{str(path)!r} is a book of strategies of version {data.get('version')!r:.20}; this kapelle reads "
                f"{VERSION}. Make it anew from the log."
            )
        entries, notes = {}, {}
        for task_type, page in types.items():
            place = f"{str(path)!r}, task type {task_type!r:.80}"
            rows = page.get("strategies") if isinstance(page, dict) else None
            if not isinstance(rows, list) or len(rows) > MAX_ENTRIES:
                raise InvalidInput(f"{place}: there is no list of strategies. Make the book anew from the log.")
            entries[task_type] = tuple(
                _from_dict(row, f"{place}, entry {number}") for number, row in enumerate(rows, 1)
            )
            notes[task_type] = str(page.get("note", ""))[:1000]
        return cls(entries=entries, notes=notes)


def read_outcomes(outcomes: Iterable[Outcome], checks: Checks | None = None) -> tuple[tuple[LoggedTask, ...], Checks]:
    """Return the ledger's outcomes as logged tasks, and the checks with the verdicts that the ledger knows.

    Of an outcome's `features` these count: `text` and `context` of the task; `answer`, in its canonical form, or
    `output`, as it was given; and `checks`, a mapping of a check's text to whether the answer passed. An agent that
    tried several times counts with all that it spent and with how it ended; where nothing measured how good that was,
    or it says nothing of the agent (see `Outcome.completed`), it is left out.
    """
    grouped: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    outcomes = tuple(outcomes)
    newest = {outcome.agent: outcome.agent_version for outcome in outcomes if outcome.agent_version is not None}
    for outcome in outcomes:
        if outcome.agent_version is not None and outcome.agent_version != newest[outcome.agent]:
            continue  # the agent is another one by now
        if outcome.step != "verifier":  # it judged this task, and did another
            grouped[outcome.run_id, outcome.task_id].append(outcome)
    tasks = []
    verdicts: dict[tuple[str, str, str], Verdict] = {}
    for (run_id, task_id), tried in grouped.items():
        name = f"{run_id}/{task_id}"
        by_agent: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in tried:
            by_agent[outcome.agent].append(outcome)
            passed = outcome.features.get("checks")
            for check, verdict in passed.items() if isinstance(passed, Mapping) else ():
                if isinstance(verdict, bool):
                    verdicts[name, outcome.agent, str(check)] = Verdict(passed=verdict)
        features = tried[0].features
        tasks.append(
            LoggedTask(
                task_id=name,
                text=_words(features, "text") or "",
                task_type=tried[0].task_type,
                context=_words(features, "context") or "",
                outcomes={agent: _added_up(several) for agent, several in by_agent.items() if _is_known(several[-1])},
            )
        )
    known = checks or Checks()
    return tuple(tasks), Checks(
        validators=known.validators, sandbox=known.sandbox, verdicts={**known.verdicts, **verdicts}
    )


def _is_known(outcome: Outcome) -> bool:
    return outcome.quality is not None or outcome.completed is False


def _added_up(tried: Sequence[Outcome]) -> LoggedOutcome:
    last = tried[-1]
    answer = _words(last.features, "output") or _words(last.features, "answer")
    return LoggedOutcome(
        quality=0.0 if last.quality is None else last.quality,
        cost_usd=math.fsum(one.cost_usd for one in tried),
        seconds=math.fsum(one.seconds for one in tried),
        # An empty answer is none, and a strategy goes on; where the ledger kept no answer, nothing can be said.
        output=answer if answer is not None or last.success else "",
    )


def _words(features: Mapping[str, Any], name: str) -> str | None:
    value = features.get(name)
    return value if isinstance(value, str) else None


def _strategies(estimates: Iterable[StrategyEstimate]) -> list[StrategyEstimate]:
    return [one for one in estimates if not isinstance(one.strategy, Single)]


def _borrow(
    task_type: str,
    entries: Mapping[str, Sequence[StrategyEstimate]],
    found: Mapping[str, Sequence[StrategyEstimate]],
    dependences: Mapping[str, Any],
) -> list[StrategyEstimate]:
    from .strategy_parts import estimate_from_parts

    alone = {
        one.strategy.agent: one
        for one in entries[task_type]
        if isinstance(one.strategy, Single) and one.samples >= MIN_ALONE
    }
    borrowed: dict[Any, StrategyEstimate] = {}
    for elsewhere, estimates in found.items():
        for known in estimates:
            if dependences.get(elsewhere) is None or not alone.keys() >= set(agents_of(known.strategy)):
                continue
            estimate = estimate_from_parts(known.strategy, alone, dependences[elsewhere])
            gain = estimate.quality_lower - _mixed_quality(alone.values(), estimate.cost_usd)
            if gain > 0:
                borrowed[known.strategy] = estimate
    return sorted(borrowed.values(), key=lambda one: one.cost_usd)


def _mixed_quality(singles: Iterable[StrategyEstimate], cost_usd: float) -> float:
    """Return the best expected quality that one agent, or two in a blind mix, reach at a cost."""
    points = [(one.cost_usd, one.quality) for one in singles]
    best = max((quality for cost, quality in points if cost <= cost_usd), default=0.0)
    for low, worse in points:
        for high, better in points:
            if low < cost_usd < high:
                best = max(best, worse + (better - worse) * (cost_usd - low) / (high - low))
    return best


def _to_dict(estimate: StrategyEstimate) -> dict[str, Any]:
    figures = {name: getattr(estimate, name) for name in _FIGURES}
    return {
        "strategy": strategy_to_dict(estimate.strategy),
        **figures,
        "samples": estimate.samples,
        "source": estimate.source,
    }


def _from_dict(row: object, place: str) -> StrategyEstimate:
    if not isinstance(row, dict):
        raise InvalidInput(f"{place}: a {type(row).__name__} is no estimate. Make the book anew from the log.")
    try:
        figures = {name: _number(row.get(name), name) for name in _FIGURES}
        samples = row.get("samples")
        if not isinstance(samples, int) or isinstance(samples, bool):
            raise InvalidInput(f"samples is {samples!r:.40}; it must be a whole number.")
        source = row.get("source", "replayed")
        if source not in ("replayed", "parts"):
            raise InvalidInput(f"there is no source {source!r:.40}.")
        strategy = strategy_from_dict(row.get("strategy"))
        return StrategyEstimate(strategy=strategy, samples=samples, source=source, **figures)
    except InvalidInput as error:
        raise InvalidInput(f"{place}: {error}") from error


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(f"{name} is {value!r:.40}; it must be a number.")
    try:
        return float(value)
    except OverflowError:
        raise InvalidInput(f"{name} has too many digits.") from None
