"""The savings report: reads a log, judges it as it deserves, and says what it found. The page to read first.

    read_log -> paired, if every task was seen with every agent     -> looked up
             -> partial, if most were seen with one                 -> doubly robust estimates
             -> neither, if no two agents share a task type         -> said so, and what to do

Policies and predictors are given in, so that any of their kind may be judged; without one they are kapelle's own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapelle.errors import InvalidInput
from kapelle.estimates import LoggedTask
from kapelle.models import PriceTable
from kapelle.strategies import Single, Strategy, agents_of

from .columns import ColumnNames, Scale
from .log import Log
from .reading import read_log
from .report import SavingsReport

if TYPE_CHECKING:
    from .full_feedback import FitPolicy, PairedTasks
    from .learned_policy import LearnedPolicy
    from .logged_bandit import FitPredictor

SHARES = (0.95, 0.98, 1.0)
"""Of today's quality."""
MIN_TASKS = 40
"""Fewer tell nothing: half of them are learned from, and the other half is judged."""
MAX_MARGIN = 10.0
"""Standard errors; no sample is as far off."""
FEW_TASKS = 200
MAX_LEARNED = 10_000
"""Tasks from which policies, predictors and words are learned at a time; of more a random part. All are judged."""
HOW_TO_EXPLORE = (
    "Give a small share of the traffic, such as 5 %, to an agent drawn at random, whatever the task (`kapelle run "
    "--explore 0.05` does), and run this again on its log: a few hundred tasks a type are enough."
)


def savings_report(
    log: Log,
    *,
    today: str | None = None,
    shares: Sequence[float] = SHARES,
    margin: float = 0.0,
    seed: int = 0,
    folds: int = 2,
    resamples: int = 1_000,
    confidence: float = 0.95,
    fit_policy: FitPolicy | None = None,
    fit_predictor: FitPredictor | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> SavingsReport:
    """Return what routing would have saved on the tasks of this log.

    Args:
        log: see `read_log`.
        today: the agent to compare with. By default the best one of a paired log, and in a partial log what was done.
        shares: of today's quality that are to be kept.
        margin: standard errors of quality that choices ask for beyond a share, on the tasks they are learned from; for
            paired logs. With 0 one in two falls a little short on other tasks, with 1 one in six does.
        seed: decides the folds and the draws; the same log and seed give the same report.
        folds: how often a policy is learned, each time to be judged on the part that it has not seen.
        resamples: draws behind an interval.
        confidence: of the intervals.
        fit_policy: what learns to choose, for paired logs.
        fit_predictor: what learns to predict, for partial logs.
        tell: is told what is being done, in a few words.

    Raises:
        InvalidInput: the log has one agent, too few tasks, costs nothing, or `today` is not in it.
    """
    from .full_feedback import find_paired, judge_paired
    from .logged_bandit import judge_partial

    _check(log, today, shares, margin, folds, resamples, confidence)
    common: dict[str, Any] = {
        "today": today, "shares": tuple(sorted(set(shares))), "folds": folds, "seed": seed, "resamples": resamples,
        "confidence": confidence, "tell": tell,
    }  # fmt: skip
    paired = find_paired(log)
    if paired is not None and today is not None and today not in paired.agents:
        raise InvalidInput(f"The agent {today!r} was {paired.left_out_agents[today]}: too few to compare with.")
    if paired is not None:
        found: Any = judge_paired(
            paired, margin=margin, fit=_fit_policy if fit_policy is None else fit_policy, replay=_replay, **common
        )
    else:
        found = judge_partial(log, fit=_fit_predictor if fit_predictor is None else fit_predictor, **common)
    read: dict[str, Any] = {
        "source": log.source, "rows": log.rows, "refused": log.refused, "problems": log.problems,
        "columns": log.columns, "notes": log.notes, "folds": folds, "resamples": resamples, "confidence": confidence,
        "seed": seed,
    }  # fmt: skip
    if isinstance(found, str):
        return SavingsReport(
            **read, method="none", tasks=len(log.tasks), agents=log.agents, warnings=(found, HOW_TO_EXPLORE)
        )
    warnings = list(found.warnings)
    if found.tasks < FEW_TASKS:
        warnings.append(f"{found.tasks} tasks are few; a policy learned from all of them may do better or worse.")
    own = fit_policy is None if paired is not None else fit_predictor is None
    if own and found.tasks * (folds - 1) > MAX_LEARNED * folds:
        read["notes"] = (*log.notes, f"What is learned is learned from {MAX_LEARNED:,} tasks at a time, at random.")
    if log.refused:
        warnings.append(f"{log.refused:,} of {log.rows:,} rows were refused as bad, and are in no figure.")
    return SavingsReport(
        **read,
        method="paired" if paired is not None else "doubly robust",
        tasks=found.tasks,
        agents=found.agents,
        today=found.today,
        targets=found.targets,
        singles=found.singles,
        curve=found.curve,
        by_type=found.by_type,
        excluded=found.excluded,
        warnings=tuple(warnings),
    )


def run_savings(
    path: Path | str | None,
    *,
    columns: Sequence[str] = (),
    quality_scale: str | None = None,
    today: str | None = None,
    shares: Sequence[float] = SHARES,
    margin: float = 0.0,
    seed: int = 0,
    folds: int = 2,
    resamples: int = 1_000,
    plot: Path | None = None,
    save: Path | None = None,
    prices: PriceTable | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> SavingsReport:
    """Read a log, return its report, and write the plot and the learned policy if they are asked for.

    Args:
        path: the log; None is the default ledger.
        columns: texts such as `quality=score`.
        quality_scale: such as `1-5`.
        plot: a file that ends in .svg or .png.
        save: where the policy learned from the whole log is kept, which keeps the largest of the shares: an engine
            obeys it, `Engine(learned=FILE)`.
        today, shares, margin, seed, folds, resamples, tell: see `savings_report`.

    Raises:
        NotFound: there is no such log.
        InvalidInput: something given is wrong; see `read_log`, `savings_report` and `write_plot`.
    """
    from .picture import check_plot_target, write_plot

    names = ColumnNames.parse(columns)
    scale = None if quality_scale is None else Scale.parse(quality_scale)
    if plot is not None:
        check_plot_target(plot)  # before the work, not after it
    if save is not None and not save.expanduser().parent.is_dir():
        raise InvalidInput(f"There is no folder {str(save.expanduser().parent)!r} to save {save.name!r} in. Make it.")
    tell("reading the log")
    log = read_log(path, columns=names, scale=scale, prices=prices)
    report = savings_report(
        log, today=today, shares=shares, margin=margin, seed=seed, folds=folds, resamples=resamples, tell=tell
    )
    if plot is not None and report.is_estimated:
        write_plot(report, plot)
    if save is not None and report.is_estimated:
        tell("learning from the whole log")
        policy = settle_policy(log, share=max(shares), margin=margin, today=today, seed=seed)
        if isinstance(policy, str):
            raise InvalidInput(f"There is no policy to save. {policy}")
        policy.save(save)
    return report


def settle_policy(
    log: Log, *, share: float = 1.0, margin: float = 0.0, today: str | None = None, seed: int = 0
) -> LearnedPolicy | str:
    """Return what runs obey that are to do as the report says: learned as there, and from the whole log.

    Args:
        log: as for `savings_report`.
        share: of today's quality that is to be kept.
        margin: standard errors beyond it, as in `savings_report`.
        today: the agent to compare with, as in `savings_report`.
        seed: decides what is drawn.

    Returns:
        The policy, or in words why this log has none to give.
    """
    from .curve import OperatingPoint
    from .full_feedback import find_paired
    from .learned_policy import LearnedPolicy
    from .logged_bandit import settle_partial

    try:
        _check(log, today, (share,), margin, folds=2, resamples=100, confidence=0.95)
    except InvalidInput as error:
        return str(error)
    paired = find_paired(log)
    if paired is not None:
        if today is not None and today not in paired.agents:
            return f"The agent {today!r} was {paired.left_out_agents[today]}: too few to compare with."
        policy: LearnedPolicy = _fit_policy(paired.tasks, seed).settle(
            share * _share_of_best(paired, today), margin=margin
        )
        return policy
    settled = settle_partial(log, share=share, today=today, fit=_fit_predictor, seed=seed)
    if not settled.allowed:
        return "Within no task type is there a cheaper choice that this log proves as good. " + HOW_TO_EXPLORE
    predictor = settled.predictor
    price = settled.price_per_usd
    return LearnedPolicy(
        predictor=predictor,
        strategies=[Single(agent=agent) for agent in predictor.agents],
        point=OperatingPoint(price=price, other_price=price, share=1.0, expected_quality=0.0, expected_cost_usd=0.0),
        allowed=settled.allowed,
    )


def _share_of_best(paired: PairedTasks, today: str | None) -> float:
    """Return today's quality as a share of the best agent's, which a policy's aims are shares of."""
    if today is None:
        return 1.0
    means = {agent: math.fsum(task.outcomes[agent].quality for task in paired.tasks) for agent in paired.agents}
    return means[today] / max(means.values())


def _check(
    log: Log,
    today: str | None,
    shares: Sequence[float],
    margin: float,
    folds: int,
    resamples: int,
    confidence: float,
) -> None:
    agents = log.agents
    if len(agents) < 2:
        raise InvalidInput(
            f"{log.source} knows one agent, {', '.join(map(repr, agents)) or 'none'}: there is nothing to choose from. "
            "Log a second one, at a random share of the tasks."
        )
    if len(log.tasks) < MIN_TASKS:
        raise InvalidInput(f"{log.source} has {len(log.tasks)} tasks; at least {MIN_TASKS} are needed.")
    if today is not None and today not in agents:
        raise InvalidInput(f"There is no agent {today!r} in {log.source}. It has {', '.join(agents[:20])}.")
    if not shares or not all(math.isfinite(share) and 0 < share <= 1.5 for share in shares):
        raise InvalidInput("A quality share is a fraction of today's quality, such as 0.95.")
    if isinstance(margin, bool) or not 0 <= margin <= MAX_MARGIN:
        raise InvalidInput(f"margin is {margin!r:.40}; give standard errors from 0 to {MAX_MARGIN:g}, such as 1.")
    if not (2 <= folds <= 20 and resamples >= 100 and 0 < confidence < 1):
        raise InvalidInput("Give 2 to 20 folds, 100 resamples or more, and a confidence between 0 and 1.")
    if not any(outcome.cost_usd for outcome in log.as_logged):
        raise InvalidInput(f"Every row of {log.source} costs nothing, so there is nothing to save. Map a cost column.")
    if not any(outcome.quality for outcome in log.as_logged):
        raise InvalidInput(f"Every row of {log.source} has quality 0, so there is nothing to keep. Check the column.")


def _fit_policy(tasks: Sequence[LoggedTask], seed: int) -> Any:
    from .policy import RoutingPolicy

    return RoutingPolicy.fit(sample_tasks(tasks, seed), seed=seed)


def _fit_predictor(tasks: Sequence[LoggedTask], seed: int) -> Any:
    from kapelle.estimates import OutcomePredictor

    return OutcomePredictor.fit(sample_tasks(tasks, seed), seed=seed)


def sample_tasks(tasks: Sequence[LoggedTask], seed: int) -> Sequence[LoggedTask]:
    """Return what is learned from: all of them, or MAX_LEARNED at random, in their order."""
    if len(tasks) <= MAX_LEARNED:
        return tasks
    kept = sorted(random.Random(seed).sample(range(len(tasks)), MAX_LEARNED))
    return [tasks[index] for index in kept]


def _replay(strategy: Strategy, tasks: Sequence[LoggedTask]) -> Any:
    from kapelle.strategies import LoggedTable, checks_of

    table = LoggedTable.build(tasks, agents=agents_of(strategy), examine=checks_of(strategy))
    found = table.replay(strategy)
    return found.quality, found.cost_usd
