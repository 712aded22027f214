"""CalibratedRewardModel: the chance that an attempt succeeds, learned from all that is known of it beforehand.

A logistic regression with a Gaussian prior (see logistic and encoding), refitted as outcomes come in and moved by each
of them in between. On held-out folds it chooses how loosely words and numbers may weigh, and how its log-odds become
chances (platt). Rates are those of the past only: the row of an outcome is made before the outcome is counted. With
few data its prediction is the shrunken rate of the agent at this type of task, and with none a half.

It predicts an outcome measured without it, and claims nothing of cost: see LearnedRewardModel for a score that weighs
both. What it keeps of every attempt are hashes and counts, no text.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kapelle.documents import write_beside_then_rename
from kapelle.errors import InvalidInput, NotFound

from .platt import STEEPEST, Calibration, fit_calibration
from .rates import Rates, names_of, require_outcome

if TYPE_CHECKING:  # NumPy is imported by the first model, not by `import kapelle`
    from .logistic import Floats, SparseRow

MEMORY = 20_000
"""Outcomes that are kept for the next fit; older ones live on in the rates alone."""
FIRST_FIT = 20
GROWTH = 1.5
"""It is fitted anew whenever the outcomes since the first have grown by this factor: n outcomes cost 3 n row visits."""
FOLDS = 3
LEAST_FOR_FOLDS = 150
"""Outcomes below which a fold says too little: then nothing is chosen, and log-odds are chances as they are."""
LOOSENESS = (0.1, 0.4, 1.0, 2.5)
REFUSALS_KEPT = 20
_FORMAT = 1
_MOST_BYTES = 1_000_000_000
_MOST_WEIGHT = 1e6
"""Weights and values beyond it are damage: sums of larger ones would overflow."""
_DAMAGE = (
    OSError,
    SyntaxError,  # an array's header, which NumPy reads as a literal of Python
    tokenize.TokenError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,  # a count that is infinite
    EOFError,
    MemoryError,  # an array that claims to be larger than its file
    RuntimeError,  # an encrypted archive, or one packed in a way that is not known here
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged file may raise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardStatistics:
    """What a model has learned so far."""

    outcomes: int
    remembered: int
    refused: int
    """Rows that were malformed; nothing was learned from them."""
    refusals: tuple[str, ...]
    """Why, for the first of them."""
    fits: int
    looseness: float
    calibration: Calibration
    held_out_log_loss: float | None
    """Of the last fit, on the folds left out; None while there were too few outcomes."""


class CalibratedRewardModel:
    """A RewardModel that is calibrated. `growth=None` never refits by itself: call `refit`.

    >>> model = CalibratedRewardModel()
    >>> model.predict({"agent": "scout", "task_type": "search"})
    0.5
    """

    def __init__(self, *, memory: int = MEMORY, growth: float | None = GROWTH) -> None:
        if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
            raise InvalidInput(f"memory is {memory!r}; give a whole number of outcomes, one or more.")
        if growth is not None and not growth > 1:
            raise InvalidInput(f"growth is {growth!r}; give a factor above 1, or None to fit only when asked.")
        from .encoding import penalties, prior_weights

        self._growth = growth
        self._rates = Rates()
        self._rows: deque[tuple[SparseRow, float, int]] = deque(maxlen=memory)
        self._weights: Floats = prior_weights()
        self._precision: Floats = penalties()
        self._looseness = 1.0
        self._calibration = Calibration()
        self._held_out: float | None = None
        self._fits = 0
        self._next_fit = FIRST_FIT
        self._refused = 0
        self._refusals: list[str] = []

    @classmethod
    def fit(cls, rows: Iterable[tuple[Mapping[str, Any], float]], *, memory: int = MEMORY) -> Self:
        """Return a model that has learned from these attempts, oldest first, fitted once. Bad rows are counted."""
        model = cls(memory=memory)
        for features, outcome in rows:
            try:
                model._add(features, outcome)
            except InvalidInput:
                continue
        model.refit()
        return model

    def predict(self, features: Mapping[str, Any]) -> float:
        """Return the chance that the attempt succeeds.

        Raises:
            InvalidInput: a feature is malformed.
        """
        from .encoding import encode

        return self._calibration.apply(self._odds(encode(features, self._rates)))

    def observe(self, features: Mapping[str, Any], outcome: float) -> None:
        """Learn from an attempt.

        Raises:
            InvalidInput: a feature or the outcome is malformed. Nothing is learned, and the row is counted as refused.
        """
        from .logistic import update_weights

        row = self._add(features, outcome)
        if self._growth is not None and self._rates.total >= self._next_fit:
            self.refit()
        elif self._fits:  # before the first fit the rates learn, and the weights trust them
            update_weights(row, float(outcome), self._weights, self._precision)

    def refit(self) -> None:
        """Fit the weights to all remembered outcomes. Does nothing where there are none."""
        import numpy as np

        from .encoding import WIDTH, penalties, prior_weights
        from .logistic import Rows, fit_weights, precision_of

        if not self._rows:
            return
        outcomes = np.array([outcome for _, outcome, _ in self._rows])
        self._looseness, self._calibration, self._held_out = self._choose(outcomes)
        rows = Rows([row for row, _, _ in self._rows], WIDTH)
        penalty = penalties(self._looseness)
        start = self._weights if self._fits else prior_weights()
        self._weights = fit_weights(rows, outcomes, penalty, prior_weights(), start)
        self._precision = precision_of(rows, self._weights, penalty)
        self._fits += 1
        self._next_fit = max(FIRST_FIT, int(self._rates.total * (self._growth or GROWTH)) + 1)

    def statistics(self) -> RewardStatistics:
        """Return what was learned."""
        return RewardStatistics(
            outcomes=self._rates.total,
            remembered=len(self._rows),
            refused=self._refused,
            refusals=tuple(self._refusals),
            fits=self._fits,
            looseness=self._looseness,
            calibration=self._calibration,
            held_out_log_loss=self._held_out,
        )

    def save(self, path: Path | str) -> None:
        """Write the model to a file (.npz): beside it first, then renamed.

        Raises:
            InvalidInput: it cannot be written; an old file is still there.
        """
        import numpy as np

        used = np.flatnonzero(self._weights)
        facts = {
            "format": _FORMAT,
            "rates": self._rates.to_rows(),
            "looseness": self._looseness,
            "calibration": [self._calibration.slope, self._calibration.offset],
            "held_out": self._held_out,
            "fits": self._fits,
            "next_fit": self._next_fit,
            "refused": self._refused,
            "refusals": self._refusals,
        }
        rows = [row for row, _, _ in self._rows]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            facts=np.frombuffer(json.dumps(facts).encode("utf-8"), dtype=np.uint8),
            used=used.astype(np.int32),
            weights=self._weights[used],
            at=np.concatenate([at for at, _ in rows]) if rows else np.zeros(0, dtype=np.int32),
            values=np.concatenate([values for _, values in rows]) if rows else np.zeros(0, dtype=np.float32),
            lengths=np.array([len(at) for at, _ in rows], dtype=np.int64),
            outcomes=np.array([outcome for _, outcome, _ in self._rows], dtype=np.float64),
            folds=np.array([fold for _, _, fold in self._rows], dtype=np.int64),
        )
        write_beside_then_rename(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: Path | str, *, memory: int = MEMORY, growth: float | None = GROWTH) -> Self:
        """Return the model that a file holds. The file is data and nothing in it is run. Settings are not kept in it.

        Raises:
            NotFound: there is no such file.
            InvalidInput: it is damaged, or of another format. It is left as it is.
        """
        path = Path(path)
        if not path.is_file():
            raise NotFound(f"There is no reward model at {str(path)!r}. Check the path, or start with a new model.")
        model = cls(memory=memory, growth=growth)
        try:
            model._read(path)
        except _DAMAGE as error:
            raise InvalidInput(
                f"{str(path)!r} is no reward model of ours ({type(error).__name__}: {error}). It was left as it is: "
                "restore it, or move it away to start anew."
            ) from error
        return model

    def _read(self, path: Path) -> None:
        import numpy as np

        from .encoding import WIDTH, penalties
        from .logistic import Rows, precision_of

        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise ValueError(f"it unpacks to {size:,} bytes")
        with np.load(path, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in stored.files}
        facts = json.loads(parts["facts"].tobytes().decode("utf-8"))
        if facts["format"] != _FORMAT:
            raise ValueError(f"format {facts['format']!r} is not {_FORMAT}")
        for name, least, most in (
            ("used", 0, WIDTH - 1),
            ("at", 0, WIDTH - 1),
            ("outcomes", 0, 1),
            ("folds", 0, FOLDS - 1),
            ("weights", -_MOST_WEIGHT, _MOST_WEIGHT),
            ("values", -_MOST_WEIGHT, _MOST_WEIGHT),
        ):
            if parts[name].size and not (least <= parts[name].min() and parts[name].max() <= most):
                raise ValueError(f"{name} lies outside {least:g}..{most:g}")
        if parts["used"].shape != parts["weights"].shape:
            raise ValueError("its weights are not of one length")
        lengths, at, values = parts["lengths"], parts["at"].astype(np.int32), parts["values"].astype(np.float32)
        count = len(lengths)
        same = len(at) == len(values) == int(lengths.sum()) and count == len(parts["outcomes"]) == len(parts["folds"])
        if not same or (count and lengths.min() < 0):
            raise ValueError("its parts are not of one length")
        cuts = np.cumsum(lengths)[:-1]
        pairs = zip(np.split(at, cuts), np.split(values, cuts), strict=True) if count else ()
        outcomes, folds = parts["outcomes"].tolist(), parts["folds"].tolist()
        slope, offset = (float(one) for one in facts["calibration"])
        self._rates = Rates.from_rows(facts["rates"])
        self._rows.extend(zip(pairs, outcomes, folds, strict=True))
        self._weights[parts["used"]] = parts["weights"]
        self._weights[np.setdiff1d(np.flatnonzero(self._weights), parts["used"])] = 0.0
        self._looseness = float(facts["looseness"])
        if not (0 < self._looseness <= 1000 and 0 <= slope <= STEEPEST and abs(offset) <= 1000):
            raise ValueError("looseness or calibration is out of range")
        self._calibration = Calibration(slope=slope, offset=offset)
        self._held_out = None if facts["held_out"] is None else float(facts["held_out"])
        self._fits, self._next_fit = int(facts["fits"]), int(facts["next_fit"])
        self._refused, self._refusals = int(facts["refused"]), [str(one) for one in facts["refusals"]]
        rows = Rows([row for row, _, _ in self._rows], WIDTH)
        self._precision = precision_of(rows, self._weights, penalties(self._looseness))

    def _add(self, features: Mapping[str, Any], outcome: float) -> SparseRow:
        from .encoding import encode

        try:
            value = require_outcome(outcome)
            row = encode(features, self._rates)
        except InvalidInput as error:
            self._refused += 1
            if len(self._refusals) < REFUSALS_KEPT:
                self._refusals.append(str(error))
            raise
        agent, task_type = names_of(features)
        self._rates.add(agent, task_type, value)
        # Attempts at the same task stay together: else a fold would know the tasks it is judged by.
        task = str(features.get("text") or features.get("task_id") or self._rates.total)
        self._rows.append((row, value, zlib.crc32(task.encode("utf-8", "replace")) % FOLDS))
        return row

    def _odds(self, row: SparseRow) -> float:
        at, values = row
        return float(values @ self._weights[at])

    def _choose(self, outcomes: Floats) -> tuple[float, Calibration, float | None]:
        """Return the looseness that predicts the left out folds best, its calibration and its log loss there."""
        import numpy as np

        from .encoding import WIDTH, penalties, prior_weights
        from .logistic import Rows, fit_weights, log_loss
        from .logistic import expit as expit_all

        folds = np.array([fold for _, _, fold in self._rows])
        if len(outcomes) < LEAST_FOR_FOLDS or len(set(folds.tolist())) < FOLDS:
            return 1.0, Calibration(), None
        rows = [row for row, _, _ in self._rows]
        odds = {looseness: np.zeros(len(outcomes)) for looseness in LOOSENESS}
        prior = prior_weights()
        for fold in range(FOLDS):
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            known = Rows([rows[at] for at in inside], WIDTH)
            unseen = Rows([rows[at] for at in outside], WIDTH)
            weights = prior
            for looseness in LOOSENESS:  # each starts where the one before, a little stricter, ended
                weights = fit_weights(known, outcomes[inside], penalties(looseness), prior, weights)
                odds[looseness][outside] = unseen.times(weights)
        best = min(LOOSENESS, key=lambda looseness: log_loss(expit_all(odds[looseness]), outcomes))
        calibration = fit_calibration(odds[best].tolist(), outcomes.tolist())
        chances = np.array([calibration.apply(one) for one in odds[best].tolist()])
        return best, calibration, log_loss(chances, outcomes)
