"""Large graphs in bands of levels: what is drawn and told where single tasks would be too many. Draws nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .task import Task

MAX_DRAWN = 1_000
"""Tasks that are drawn and told one by one; of larger graphs bands are. A picture of more takes a browser minutes."""
MAX_BANDS = 20
_MOST_TELLING = ("failed", "asking", "running", "cancelled", "skipped", "waiting", "done")
"""What a band is coloured by: the first of these that one of its tasks is."""


def split_in_bands(levels: Sequence[Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the levels of a graph in at most MAX_BANDS bands: what each is called, and its tasks.

    >>> list(split_in_bands([["a", "b"], ["c"]]))
    [('level 0', ['a', 'b']), ('level 1', ['c'])]
    """
    size = max(1, -(-len(levels) // MAX_BANDS))
    for first in range(0, len(levels), size):
        band = levels[first : first + size]
        last = first + len(band) - 1
        name = f"level {first}" if last == first else f"levels {first} to {last}"
        yield name, [task_id for level in band for task_id in level]


def tell_counts(names: Iterable[str], *, most: int = 4) -> str:
    """Return how often each name comes, the most frequent first.

    >>> tell_counts(["done"] * 70 + ["failed"] * 2)
    '70 done, 2 failed'
    """
    counts = Counter(names).most_common()
    rest = f", {sum(count for _, count in counts[most:]):,} others" if len(counts) > most else ""
    return ", ".join(f"{count:,} {name}" for name, count in counts[:most]) + rest


def draw_together(
    tasks: Mapping[str, Task],
    levels: Sequence[Sequence[str]],
    status: Mapping[str, str] | None,
    notes: Mapping[str, str] | None,
) -> tuple[list[Task], dict[str, str], dict[str, str]]:
    """Return a graph with a task for each band, one after the other, with the state and the note of each."""
    status, notes = status or {}, notes or {}
    bands: list[Task] = []
    states: dict[str, str] = {}
    told: dict[str, str] = {}
    for name, members in split_in_bands(levels):
        band = Task(
            task_id=name.replace(" ", "_"),
            task_type=f"{len(members):,} tasks",
            description=tell_counts(tasks[task_id].task_type for task_id in members),
            depends_on=(bands[-1].task_id,) if bands else (),
        )
        bands.append(band)
        if status:
            there = {status.get(task_id, "waiting") for task_id in members}
            states[band.task_id] = next((state for state in _MOST_TELLING if state in there), "waiting")
        if notes:
            told[band.task_id] = tell_counts(notes[task_id] for task_id in members if task_id in notes)
    return bands, states, told
