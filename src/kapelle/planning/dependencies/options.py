"""The sets of earlier steps that a step of text may wait for, and the features that speak for each.

Steps are decided one after the other, so an option is seen in its situation: what was decided before. Features are
named truths, such as "unused" (nothing reads that answer yet); the weights are learned, the names are the explanation.
"""

from __future__ import annotations

from itertools import combinations

from .instruction_features import Situation, instruction_features, instruction_pair_features, situate_instruction
from .question_features import BlankSituation, blank_features, blank_pair_features, situate_blanks
from .reading import overlap
from .text_plan import DecidedSteps, Features, Sources, TextPlan

MAX_COMBINED = 6
"""Of how many earlier steps every pair and triple is an option."""
MAX_PAIRS = 3
MAX_SINGLE = 12
"""How many earlier steps are options of their own for one step: the last, the first, and those with most in common."""


def find_options(plan: TextPlan, history: DecidedSteps) -> list[Sources]:
    """Return the sets of earlier steps that the next step may wait for."""
    step = len(history.sources)
    decided = plan.decided.get(step, ())
    if step == 0 or (decided and not plan.steps[step].blanks):
        return [decided]
    if decided:
        return list(dict.fromkeys(tuple(sorted({*decided, *more})) for more in _blank_options(plan, step, history)))
    if plan.family == "blanks":
        return _blank_options(plan, step, history)
    singles = _near_steps(plan, step)
    unused = history.unused
    siblings = tuple(other for other in unused if history.sources[other] == history.sources[step - 1])
    wanted: list[Sources] = [(), *((single,) for single in singles), history.sources[step - 1], unused, siblings]
    if step <= MAX_SINGLE:
        wanted.append(tuple(range(step)))
        # Waiting for the last and for what that waits for: "A, then B with A, then C with both".
        wanted += [(first, step - 1) for first in (0, step - 2) if 0 <= first < step - 1]
    return list(dict.fromkeys(wanted))


def _blank_options(plan: TextPlan, step: int, history: DecidedSteps) -> list[Sources]:
    blanks = plan.steps[step].blanks
    if not blanks:
        return [()]
    near = _near_steps(plan, step)
    unused = history.unused
    near = sorted({*near, *unused[-4:]})
    wanted: list[Sources] = [(single,) for single in near]
    few = near if len(near) <= MAX_COMBINED else [near[0], *near[1 - MAX_COMBINED :]]
    wanted += [chosen for size in range(2, min(blanks, len(few), 3) + 1) for chosen in combinations(few, size)]
    if blanks >= len(unused) > 0:
        wanted.append(unused)
    if blanks > 3:
        wanted.append(tuple(range(max(0, step - blanks), step)))
    return list(dict.fromkeys(wanted))


def _near_steps(plan: TextPlan, step: int) -> list[int]:
    if step <= MAX_SINGLE:
        return list(range(step))
    mine = plan.steps[step].stems
    rest = sorted(range(1, step - 6), key=lambda other: (-overlap(mine, plan.steps[other].stems), -other))
    return sorted({0, *range(step - 6, step), *rest[: MAX_SINGLE - 7]})


def situate(plan: TextPlan, step: int, sources: Sources, history: DecidedSteps) -> BlankSituation | Situation:
    """Return what earlier decisions mean for an option: all that `find_features` needs of them."""
    if plan.family == "blanks":
        return situate_blanks(plan, step, sources, history)
    return situate_instruction(step, sources, history)


def find_features(plan: TextPlan, step: int, sources: Sources, situation: BlankSituation | Situation) -> Features:
    """Return what speaks for or against an option as a whole."""
    if isinstance(situation, BlankSituation):
        return list(blank_features(plan, step, sources, situation))
    return list(instruction_features(plan, step, sources, situation))


def find_pair_features(plan: TextPlan, step: int, source: int) -> Features:
    """Return what speaks for or against one source of a step, in every option that has it."""
    if plan.family == "blanks":
        return list(blank_pair_features(plan, step, source))
    return list(instruction_pair_features(plan, step, source))


def counted_pairs(plan: TextPlan, sources: Sources) -> Sources:
    """Return the sources whose pairs count: a wide join of instructions is judged as a whole."""
    return sources if plan.family == "blanks" or len(sources) <= MAX_PAIRS else ()
