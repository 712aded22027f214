"""Which column of a log means what: guessed from common names, decided by the user. Reads no file.

A column that bears kapelle's own name for a thing wins. Among the other common names one may be there; two, or none of
what is needed, are refused with the columns that were found and the option that settles it. `category` is never taken
for the task type by itself: in many logs it is a label that is known only afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kapelle.errors import InvalidInput

NAMES: Mapping[str, tuple[str, ...]] = {
    "task_id": ("task_id", "taskid", "id", "question_id", "request_id", "sample_id", "prompt_id", "query_id"),
    "text": ("text", "prompt", "question", "query", "input", "request", "instruction"),
    "context": ("context", "functions", "tools"),
    "task_type": ("task_type", "tasktype", "type"),
    "agent": ("agent", "agent_id", "agent_name", "model", "model_name", "model_id", "llm"),
    "model": ("model", "model_name", "model_id"),
    "quality": ("quality", "score", "success", "correct", "is_correct", "passed", "accuracy", "reward", "rating"),
    "cost_usd": ("cost_usd", "cost", "price", "price_usd", "total_cost", "cost_dollars", "usd"),
    "input_tokens": ("input_tokens", "prompt_tokens", "tokens_in"),
    "cached_tokens": ("cached_tokens", "cached_input_tokens", "cache_read_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "tokens_out"),
    "seconds": ("seconds", "latency_s", "latency", "duration_s", "duration", "latency_ms", "duration_ms"),
    "output": ("output", "response", "completion"),
}
"""What a column can be, and the names it is known by; the first is our own."""

_TOLD_APART = frozenset({"task_id", "text", "task_type", "quality", "cost_usd"})
"""Where the wrong column would give wrong figures. Elsewhere the names say the same, and the first that is there is
taken: an agent before its model, seconds before milliseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnNames:
    """Columns as the user named them: what it is (see NAMES) to the column's name in the log.

    Raises:
        InvalidInput: there is no such thing as one of the names says.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.chosen) - NAMES.keys())
        if unknown:
            raise InvalidInput(f"A log has no {unknown[0]!r}. Map one of these: {', '.join(NAMES)}.")

    @classmethod
    def parse(cls, pairs: Sequence[str]) -> ColumnNames:
        """Return the names from texts such as `quality=score`.

        Raises:
            InvalidInput: a text has not that form, names nothing known, or a thing is named twice.
        """
        chosen: dict[str, str] = {}
        for pair in pairs:
            name, equals, column = (part.strip() for part in pair.partition("="))
            if not (name and equals and column):
                raise InvalidInput(f"{pair!r:.80} maps no column. Write NAME=COLUMN, for instance quality=score.")
            if name in chosen:
                raise InvalidInput(f"{name!r} is mapped twice, to {chosen[name]!r} and {column!r}. Keep one.")
            chosen[name] = column
        return cls(chosen=chosen)


def find_columns(header: Sequence[str], names: ColumnNames, *, needed: Sequence[str]) -> dict[str, str]:
    """Return which column of the header is what.

    Raises:
        InvalidInput: a chosen column is not there, a needed one is missing, or two could be meant.
    """
    found: dict[str, str] = {}
    by_lower = {column.strip().lower(): column for column in header}
    taken = set(names.chosen.values())
    for name, known in NAMES.items():
        chosen = names.chosen.get(name)
        if chosen is not None:
            column = chosen if chosen in header else by_lower.get(chosen.lower())
            if column is None:
                raise InvalidInput(f"There is no column {chosen!r} for {name}. {_listed(header)}")
            found[name] = column
            continue
        there = [by_lower[word] for word in known if word in by_lower and by_lower[word] not in taken]
        if not there:
            continue
        if len(there) > 1 and there[0].lower() != known[0] and name in _TOLD_APART:
            raise InvalidInput(
                f"Several columns could be the {name}: {', '.join(map(repr, there))}. "
                f"Say which one it is: --column {name}={there[0]}."
            )
        found[name] = there[0]
    for name in needed:
        if name not in found:
            raise InvalidInput(
                f"No column is known to be the {name}. {_listed(header)} Say which one it is: --column {name}=COLUMN."
            )
    return found


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:60]) for column in header[:40]) or "none"
    return f"The log has these columns: {shown}{', ...' if len(header) > 40 else ''}."
