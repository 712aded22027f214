"""Every regular expression of ours takes time in proportion to its text, whatever the text is.

The patterns are found, not listed: all that modules hold, and all that are written at a call of `re`. Each is fed with
texts made to hurt it (its own words and characters, repeated, cut short and mixed with spaces) at two lengths, and the
processor time at four times the length is held against that at one. Quadratic growth gives 16, linear growth 4.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kapelle

SOURCE = Path(kapelle.__file__).parent
LENGTHS = (125, 500, 2_000)
MOST_GROWTH = 9.0
"""From one length to the next, four times as long."""
LEAST_S = 0.001
"""Less than this is not worth telling apart from chance."""

SCANNING = ("search", "sub", "subn", "split", "findall", "finditer")
ANCHORED = ("match", "fullmatch")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pattern, where it stands, and how it is used."""

    place: str
    pattern: re.Pattern[str]
    uses: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return self.place


def modules() -> list[ModuleType]:
    found = [kapelle]
    for info in pkgutil.walk_packages([str(SOURCE)], "kapelle."):
        if not info.name.endswith("__main__"):
            try:
                found.append(importlib.import_module(info.name))
            except ImportError:  # behind an extra that is not installed
                continue
    return found


def patterns_in(value: Any, depth: int = 0) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif isinstance(value, dict) and depth < 3:
        for item in itertools.chain(value.keys(), value.values()):
            yield from patterns_in(item, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)) and depth < 3:
        for item in value:
            yield from patterns_in(item, depth + 1)


def resolve(node: ast.expr, module: ModuleType) -> Any:
    """Return the value of an expression, with a plain word for what is only known when it runs."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(resolve(part, module)) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return resolve(node.value, module)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = resolve(node.left, module), resolve(node.right, module)
        return left + right
    try:
        return eval(compile(ast.Expression(node), "pattern", "eval"), dict(module.__dict__))
    except Exception:  # a name of the function, such as the word that is looked for
        return "word"


def uses_of_names(nodes: Mapping[ModuleType, Sequence[ast.AST]]) -> dict[str, set[str]]:
    """Return by which methods the patterns of a name are used, anywhere."""
    uses: dict[str, set[str]] = {}
    for module, found in nodes.items():
        for node in found:
            if isinstance(node, ast.Attribute) and node.attr in SCANNING + ANCHORED:
                name = getattr(node.value, "id", None) or getattr(node.value, "attr", None)
                if name is not None:
                    uses.setdefault(f"{module.__name__ if name.startswith('_') else ''}:{name}", set()).add(node.attr)
    return uses


def collect() -> list[Case]:
    nodes = {
        module: [
            node
            for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
            if isinstance(node, (ast.Attribute, ast.Call))
        ]
        for module in modules()
        if str(module.__file__).endswith(".py")
    }
    uses = uses_of_names(nodes)
    found: dict[tuple[str, int], Case] = {}

    def add(place: str, pattern: re.Pattern[str], used: frozenset[str]) -> None:
        key = (pattern.pattern, pattern.flags)
        before = found[key].uses if key in found else frozenset[str]()
        found[key] = Case(place=found[key].place if key in found else place, pattern=pattern, uses=before | used)

    for module, written in nodes.items():
        where = module.__name__.removeprefix("kapelle.")
        for name, value in vars(module).items():
            for pattern in patterns_in(value):
                add(
                    f"{where}:{name}",
                    pattern,
                    frozenset(
                        uses.get(f"{module.__name__ if name.startswith('_') else ''}:{name}", SCANNING + ANCHORED)
                    ),
                )
        for node in written:
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and getattr(node.func.value, "id", "") == "re"
                and node.func.attr in (*SCANNING, *ANCHORED, "compile")
            ):
                continue
            given = resolve(node.args[0], module)
            for text in [given] if isinstance(given, (str, re.Pattern)) else []:
                flags = [resolve(one.value, module) for one in node.keywords if one.arg == "flags"]
                flags += [resolve(one, module) for one in node.args[1:] if _is_flag(resolve(one, module))]
                try:
                    pattern = re.compile(text, flags[0] if flags else 0)
                except (re.error, TypeError, ValueError):
                    continue
                used = frozenset({node.func.attr}) if node.func.attr != "compile" else None
                if used is None and (pattern.pattern, pattern.flags) in found:
                    continue  # the one that the module holds
                add(f"{where}:{node.lineno}", pattern, used or frozenset(SCANNING + ANCHORED))
    return sorted(found.values(), key=lambda case: case.place)


def _is_flag(value: Any) -> bool:
    return isinstance(value, re.RegexFlag)


CASES = collect()


def words_of(parsed: Any) -> Iterator[str]:
    """Yield texts that the parts of a pattern match, one for each alternative."""
    sequences = [""]
    for code, argument in parsed:
        name = str(code)
        choices: list[str] = []
        if name == "LITERAL":
            choices = [chr(argument)]
        elif name == "NOT_LITERAL":
            choices = ["a" if chr(argument) != "a" else "b"]
        elif name == "ANY":
            choices = ["x"]
        elif name == "IN":
            choices = [_one_of(argument)]
        elif name == "BRANCH":
            choices = list(itertools.chain.from_iterable(words_of(branch) for branch in argument[1]))
        elif name == "SUBPATTERN":
            choices = list(words_of(argument[-1]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            inner = list(words_of(argument[2]))
            choices = [word * max(1, min(argument[0], 3)) for word in inner]
            if argument[0] == 0:
                choices = ["", *choices]
        else:
            continue
        yield from (choice for choice in choices if choice)
        sequences = [before + choice for before in sequences for choice in choices[:4]][:12] or sequences
    yield from sequences


def _one_of(argument: Any) -> str:
    negated = any(str(code) == "NEGATE" for code, _ in argument)
    if negated:
        refused = {chr(value) for code, value in argument if str(code) == "LITERAL"}
        return next(char for char in "a 1.A\n-" if char not in refused)
    for code, value in argument:
        if str(code) == "LITERAL":
            return chr(value)
        if str(code) == "RANGE":
            return chr(value[0])
        if str(code) == "CATEGORY":
            return {"SPACE": " ", "DIGIT": "1", "WORD": "a"}.get(str(value).rsplit("_", 1)[-1], "-")
    return "a"


COMMON = (" ", "\n", "\t", "a", "A", "1", ".", ",", '"', "'", "(", "<", "-", "_", "#", "{", "|", "`", "\\", "&", "=")
PAIRS = (
    "a ",
    "A ",
    "A. ",
    "1,",
    "1.",
    ", ",
    "a,",
    "a.",
    '" ',
    "' ",
    "<a ",
    "a_",
    "aA",
    "\n ",
    "[ ",
    "{ ",
    "a-",
    "a of ",
    "the a ",
    "1 %",
)


def hurtful(pattern: re.Pattern[str]) -> list[tuple[str, str, str]]:
    """Return (beginning, what is repeated, end) of texts that may hurt this pattern."""
    own = [word for word in dict.fromkeys(words_of(re._parser.parse(pattern.pattern, pattern.flags))) if word]  # type: ignore[attr-defined]
    own = sorted(own, key=len, reverse=True)[:6] + sorted(own, key=len)[:6]
    repeated = dict.fromkeys((*COMMON, *PAIRS, *own, *(f"{word} " for word in own)))
    texts = [("", unit, end) for unit in repeated for end in ("\0", "\n\0")]
    for word in own:
        texts += [(f"{word} ", unit, "\0") for unit in (" ", "a", "a ", "1", "A ", " \n")]
        texts += [("", f"{word}{unit}", "\0") for unit in ("  ", "a", "1", " a ", "\n")]
    return list(dict.fromkeys(texts))


def seconds(pattern: re.Pattern[str], uses: frozenset[str], text: str) -> float:
    started = time.thread_time()
    if uses & {"match"}:
        pattern.match(text)
    if uses & {"fullmatch"}:
        pattern.fullmatch(text)
    if uses - {"match", "fullmatch"}:
        for _ in pattern.finditer(text):
            pass
    return time.thread_time() - started


def stretch(parts: tuple[str, str, str], length: int) -> str:
    beginning, unit, end = parts
    return beginning + unit * max(1, length // len(unit)) + end


def growth(case: Case, parts: tuple[str, str, str]) -> tuple[float, float]:
    """Return the worst growth over four times the length, and the seconds it took there."""
    for short, long in itertools.pairwise(LENGTHS):
        text, shorter = stretch(parts, long), stretch(parts, short)
        if seconds(case.pattern, case.uses, text) <= LEAST_S:
            continue
        # Twice more, both: whatever else the machine does only ever adds time.
        took = min(seconds(case.pattern, case.uses, text) for _ in range(2))
        before = max(min(seconds(case.pattern, case.uses, shorter) for _ in range(3)), 1e-6)
        if took > LEAST_S and took / before > MOST_GROWTH:
            return took / before, took
    return 0.0, 0.0


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pattern_takes_time_in_proportion_to_its_text(case: Case) -> None:
    worst = max(((*growth(case, parts), parts) for parts in hurtful(case.pattern)), key=lambda found: found[0])
    assert worst[0] <= MOST_GROWTH, (
        f"{case.place}: {case.pattern.pattern!r} takes {worst[0]:.0f} times as long for four times the text, "
        f"such as {stretch(worst[2], 40)!r}"
    )


@pytest.mark.slow
def test_the_measure_sees_quadratic_and_cubic_growth_and_lets_linear_growth_pass() -> None:
    for bad in (r"(#{1,6})\s+(.+?)\s*#*\s*x", r"a+$", r"\s*,\s*x", r"\w+est\b.*?of"):
        case = Case(place="bad", pattern=re.compile(bad), uses=frozenset({"search"}))
        assert any(growth(case, parts)[0] > MOST_GROWTH for parts in hurtful(case.pattern)), bad
    for good in (r"[^\W_]+", r"(?<!\s)\s+x", r"\b\w{1,20}est\b"):
        case = Case(place="good", pattern=re.compile(good), uses=frozenset({"search"}))
        assert max(growth(case, parts)[0] for parts in hurtful(case.pattern)) <= MOST_GROWTH, good


def test_the_patterns_are_found() -> None:
    assert len(CASES) > 250
