"""The savings report as text for people: plain lines, at most 100 columns wide. Says what is estimated, and how."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from kapelle.ledger import format_usd, printable

from .report import Interval, Judged, SavingsReport

WIDTH = 100
_MAX_TYPES = 12
_MAX_SINGLES = 10
_MAX_PROBLEMS = 5
_NAME_WIDTH = 30


def format_report(report: SavingsReport) -> str:
    """Return the report as lines of text."""
    parts = [_head(report)]
    if report.is_estimated:
        parts += [_targets(report), _singles(report), _strategy(report)]
    parts += [_footnotes(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: SavingsReport) -> str:
    lines = [f"Savings in {printable(report.source)}: {report.tasks:,} tasks, {len(report.agents)} agents"]
    if report.method == "none":
        return "\n".join([*lines, "", "Nothing can be estimated from this log."])
    if report.today is not None:
        today = report.today
        lines += _fill(
            f"Today: {printable(today.name)} ({today.chosen}), {format_usd(today.cost_usd)} in this log, quality "
            f"{_number(today.quality)}."
        )
    if report.method == "paired":
        lines += _fill(
            "Every task was seen with every agent. Policies learned from one part of the tasks and were judged on "
            "another."
        )
    else:
        lines += _fill(
            "Partial log: most tasks were seen with one agent, so these are doubly robust ESTIMATES. They hold if, "
            "within a task type, who got a task depended on nothing that its text does not tell."
        )
    return "\n".join(lines)


def _targets(report: SavingsReport) -> str:
    rows: list[tuple[str, ...]] = [
        ("quality to keep", "saving", f"{report.confidence:.0%} interval", "quality reached", "interval", "cost")
    ]
    total = report.today.cost_usd if report.today is not None else 0.0
    for target in report.targets:
        rows.append((f"{100 * target.quality_share:g} % of today's", "", "", "", "", ""))
        for label, judged in (
            ("  routing", target.routed),
            ("  cheapest single agent", target.cheapest_single),
            ("  random mix of two", target.random_mix),
            ("  oracle (hindsight)", target.oracle),
        ):
            if judged is not None:
                rows.append(_cells(label, judged, total))
            elif "oracle" in label:
                rows.append((label, "unknown", "a partial log does not tell it", "", "", ""))
            else:
                rows.append((label, "none", "no agent reaches it alone", "", "", ""))
    lines = [_table(rows)]
    named = [
        f"  at {100 * target.quality_share:g} %: {what} is {printable(judged.name)}"
        for target in report.targets
        for what, judged in (
            ("the cheapest single agent", target.cheapest_single),
            ("the random mix", target.random_mix),
        )
        if judged is not None
    ]
    lines += [line for text in named for line in _fill(text, later="      ")]
    effective = [
        target.routed.effective_tasks for target in report.targets if target.routed.effective_tasks is not None
    ]
    if effective:
        lines.append(f"  effective sample size of routing: {', '.join(f'{size:,.0f}' for size in effective)} tasks")
    return "\n".join(lines)


def _cells(label: str, judged: Judged, total: float) -> tuple[str, ...]:
    quality = judged.quality_share
    return (
        label,
        _percent(judged.saving.value),
        f"{_percent(judged.saving.low)} to {_percent(judged.saving.high)}",
        _percent(quality.value),
        f"{_percent(quality.low)} to {_percent(quality.high)}",
        format_usd(max(0.0, judged.cost_share.value * total)),
    )


def _singles(report: SavingsReport) -> str:
    if not report.singles:
        return ""
    rows = [("one agent for all tasks", "cost of today's", "quality", "interval")]
    shown = report.singles
    if len(shown) > _MAX_SINGLES:
        shown = tuple(judged for judged in shown if not any(_beats(other, judged) for other in shown))
    rows += [
        (
            "  " + _cut(judged.name),
            _percent(judged.cost_share.value),
            f"{judged.quality.value:.3f}",
            f"{judged.quality.low:.3f} to {judged.quality.high:.3f}",
        )
        for judged in shown
    ]
    hidden = len(report.singles) - len(shown)
    more = f"\n  and {hidden} more, each worse and dearer than one of these" if hidden else ""
    return _table(rows) + more


def _beats(one: Judged, other: Judged) -> bool:
    return (
        one.cost_share.value <= other.cost_share.value
        and one.quality.value >= other.quality.value
        and (one.cost_share.value, one.quality.value) != (other.cost_share.value, other.quality.value)
    )


def _strategy(report: SavingsReport) -> str:
    lines = ["What routing would use (share of the tasks)"]
    for target in report.targets:
        lines += _fill(f"  at {100 * target.quality_share:g} %: {_uses(target.routed.uses)}", later="      ")
    if len(report.by_type) > 1:
        share = sorted(target.quality_share for target in report.targets)[len(report.targets) // 2]
        lines.append(f"By task type, at {100 * share:g} %")
        for task_type, uses in list(report.by_type.items())[:_MAX_TYPES]:
            lines += _fill(f"  {_cut(task_type)}: {_uses(uses, most=3)}", later="      ")
        if len(report.by_type) > _MAX_TYPES:
            lines.append(f"  and {len(report.by_type) - _MAX_TYPES} more types")
    return "\n".join(lines)


def _footnotes(report: SavingsReport) -> str:
    lines = []
    for agent, why in report.excluded.items():
        lines += _fill(f"{printable(agent)}: {why}")
    for text in report.warnings:
        lines += _fill(f"Beware: {printable(text)}" if report.is_estimated else printable(text))
    for note in report.notes:
        lines += _fill(printable(note))
    if report.problems:
        lines.append("Refused rows:")
        lines += [f"  line {one.line:,}: {printable(one.reason)[:80]}" for one in report.problems[:_MAX_PROBLEMS]]
        if report.refused > _MAX_PROBLEMS:
            lines.append(f"  and {report.refused - _MAX_PROBLEMS:,} more (--json lists them)")
    if report.is_estimated:
        lines += _fill(
            f"Dollars are of this log. Intervals: {report.resamples:,} resamples of the judged tasks, seed "
            f"{report.seed}, {report.folds} folds."
        )
    return "\n".join(lines)


def _uses(uses: Mapping[str, float], *, most: int = 6) -> str:
    shown = [f"{printable(name)} {_percent(share)}" for name, share in list(uses.items())[:most]]
    return ", ".join(shown) + (f", {len(uses) - most} more" if len(uses) > most else "")


def _number(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _percent(share: float) -> str:
    text = f"{100 * share:.1f} %" if abs(share) < 0.9995 or abs(share) > 1.0005 else f"{100 * share:.0f} %"
    return text.replace("-0.0 %", "0.0 %")


def _cut(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 1] + "…"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows if row[-1] or row is rows[0]) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _fill(text: str, *, later: str = "  ") -> list[str]:
    begin = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(), WIDTH, initial_indent=begin, subsequent_indent=later, break_long_words=False
    ) or [""]
