"""LearnedWords: what `kapelle learn` found out about words, for the belief of success to start from (success.npz).

    description   how a text becomes numbers (see features), less the mean of its task type
    scales        how much each part may explain (see tuning)
    slopes        per agent, how quality differs with words among texts of one type; no levels

Levels stay with the ledger, which is read anew by each process: with their text those outcomes that came after this was
learned, the earlier ones for their level alone. So nothing counts twice, and much of it is read at once. A text is
described without its `context`, for whoever asks for an estimate tells none: what was learned with contexts would be
wrong about every task without. The file is untrusted. NumPy is imported; load this lazily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kapelle.errors import InvalidInput

from .arrays import read_arrays, write_arrays
from .features import Embed, TextFeatures
from .logged import LoggedTask
from .moments import MAX_AGENTS_WITH_WORDS, MAX_TYPES
from .predictor import read_names, tabulate
from .success import Scales
from .tuning import fit_success

Doubles = NDArray[np.float64]

_FORMAT = 2
_MOST = 1e12
"""Of any figure in a file; none that was learned comes near it."""
_LEAST = 1e-9
"""Of a variance in a file; what is divided by a smaller one would overflow."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LearnedWords:
    """What was learned about words. See the module's docstring."""

    text: TextFeatures
    scales: Scales
    type_means: Mapping[str, Doubles]
    """Task type to the mean description of its texts."""
    slopes: Mapping[str, tuple[Doubles, Doubles]]
    """Agent to what `SuccessModel.add_slopes` takes."""
    learned_at: float
    """Seconds since the epoch, of the newest outcome that is among the slopes; 0 where they are of another log."""

    @classmethod
    def fit(
        cls, tasks: Sequence[LoggedTask], *, learned_at: float = 0.0, seed: int = 0, embed: Embed | None = None
    ) -> Self | None:
        """Learn from logged tasks; None where there are too few with words to learn anything from.

        Args:
            tasks: What was logged; rows may know one agent or many.
            learned_at: When the newest of them ended.
            seed: For what is drawn.
            embed: Further numbers per text, of an embedding model.
        """
        told = [replace(task, context="") for task in tasks if task.text and task.outcomes]
        agents = tuple(sorted({agent for task in told for agent in task.outcomes}))
        quality, _ = tabulate(told, agents)
        fitted = fit_success(told, quality, agents, seed=seed, embed=embed)
        if fitted.text is None:
            return None
        described = fitted.text.describe([task.text for task in told])
        rows: dict[str, list[int]] = {}
        for row, task in enumerate(told):
            rows.setdefault(task.task_type, []).append(row)
        often = sorted(rows, key=lambda name: -len(rows[name]))[:MAX_TYPES]
        return cls(
            text=fitted.text,
            scales=fitted.scales,
            type_means={name: described[rows[name]].mean(axis=0) for name in often},
            slopes={agent: fitted.model.moments.slopes_of(agent) for agent in agents[:MAX_AGENTS_WITH_WORDS]},
            learned_at=learned_at,
        )

    def describe(self, text: str, task_type: str) -> Doubles:
        """Return what describes a task's words, as the belief of success takes it: (width,), 0 for an ordinary text."""
        described: Doubles = self.describe_all([text], [task_type])[0]
        return described

    def describe_all(self, texts: Sequence[str], types: Sequence[str]) -> Doubles:
        """Return what describes the words of many tasks, as (tasks, width)."""
        described = self.text.describe(texts)
        for row, task_type in enumerate(types):
            if task_type in self.type_means:
                described[row] -= self.type_means[task_type]
        return described

    def save(self, path: Path | str) -> None:
        """Write it; the file appears whole or not at all. An `embed` function is not saved.

        Raises:
            InvalidInput: the file cannot be written.
        """
        about: dict[str, object] = {
            "words": _FORMAT,
            "learned_at": self.learned_at,
            "agents": list(self.slopes),
            "types": list(self.type_means),
            "type_scales": [self.scales.shared_type, self.scales.own_type],
        }
        arrays: dict[str, NDArray[np.generic]] = {
            "scales": np.array([self.scales.shared_words, self.scales.own_words]),
            "type_means": np.array(list(self.type_means.values())),
            "grams": np.array([gram for gram, _ in self.slopes.values()]),
            "products": np.array([products for _, products in self.slopes.values()]),
        }
        write_arrays(path, about, arrays | self.text.to_arrays())

    @classmethod
    def load(cls, path: Path | str, *, embed: Embed | None = None) -> Self:
        """Read what `save` wrote; give it the `embed` that it was learned with, if there was one.

        Raises:
            InvalidInput: there is no such file, or it is none of ours, damaged, or of another version.
        """
        about, arrays = read_arrays(path)
        try:
            return cls._read(about, arrays, embed)
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise InvalidInput(
                f"{str(path)!r} is damaged or holds nothing about words ({error}). Learn it again: kapelle learn."
            ) from error

    @classmethod
    def _read(cls, about: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]], embed: Embed | None) -> Self:
        if about.get("words") != _FORMAT:
            raise ValueError("it is of another version")
        text = TextFeatures.from_arrays(arrays, embed=embed)
        agents, types = read_names(about["agents"]), read_names(about["types"])
        width = len(text.names)
        scales, means, grams, products = (
            np.array(arrays[name], dtype=np.float64) for name in ("scales", "type_means", "grams", "products")
        )
        shared_type, own_type = np.array(about["type_scales"], dtype=np.float64)
        learned_at = float(str(about["learned_at"]))
        shapes = scales.shape, means.shape, grams.shape, products.shape
        count = len(agents)
        if shapes != ((2, width), (len(types), width), (count, width, width), (count, width)):
            raise ValueError("the shapes differ")
        if count > MAX_AGENTS_WITH_WORDS or len(types) > MAX_TYPES:
            raise ValueError("there are too many names")
        variances = np.concatenate([scales.ravel(), [shared_type, own_type]])
        figures = np.concatenate([variances, means.ravel(), grams.ravel(), products.ravel(), [learned_at]])
        if not (np.abs(figures) <= _MOST).all() or (variances < _LEAST).any() or (variances > 1).any():
            raise ValueError("a figure cannot be")
        for gram in grams:
            if not np.allclose(gram, gram.T) or np.linalg.eigvalsh(gram).min() < -1e-6 * (1.0 + np.trace(gram)):
                raise ValueError("the slopes are damaged")
        return cls(
            text=text,
            scales=Scales(
                shared_type=float(shared_type),
                own_type=float(own_type),
                shared_words=tuple(scales[0].tolist()),
                own_words=tuple(scales[1].tolist()),
                names=text.names,
            ),
            type_means=dict(zip(types, means, strict=True)),
            slopes=dict(zip(agents, zip(grams, products, strict=True), strict=True)),
            learned_at=learned_at,
        )
