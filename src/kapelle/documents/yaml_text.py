"""Reads and writes YAML that comes from outside, and says where it is wrong.

YAML is YAML 1.2 here, as its users think it is: `NO`, `on`, `12:30`, `2024-01-01` and `01234` are the texts that they
look like. Every file and reply is untrusted: only plain values are built, and aliases are refused because a few lines
of them unfold into gigabytes (the "billion laughs").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from kapelle.errors import InvalidPlan
from kapelle.redaction import STEERS, escape_yaml, join_surrogates

MAX_YAML_CHARS = 150_000
"""Reading YAML takes ten seconds a megabyte; JSON, which machines write, a hundredth of that."""


def parse_yaml(text: str, *, place: str = "") -> Any:
    """Return the plain values of a YAML 1.2 (or JSON) document.

    Raises:
        InvalidPlan: it is malformed or uses anchors; the message names line, column and the way out.
    """
    node, loader = _compose(text, place)
    with _explained(place):
        return None if node is None else loader.construct_document(node)


def write_yaml(value: Any) -> str:
    """Return plain JSON values as YAML that `parse_yaml` and readers of YAML 1.1 and 1.2 read back as the same."""
    # Folding long lines would lose spaces at their ends.
    return escape_yaml(yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=math.inf))


def find_place(text: str, path: Sequence[int | str]) -> str:
    """Return where a value stands in a YAML or JSON document, as `line 3, column 7`; empty if it is not found.

    Args:
        path: keys and positions, outermost first. Where it leads nowhere, the place is that of what it led to last.
    """
    try:
        node, _ = _compose(text.replace("\t", " "), "")  # JSON may be indented by tabs
    except InvalidPlan:
        return ""
    mark = None if node is None else node.start_mark
    for step in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            pairs = ((key, inner) for key, inner in node.value if isinstance(key, yaml.ScalarNode))
            found = next(((key.start_mark, inner) for key, inner in pairs if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
            found = node.value[step].start_mark, node.value[step]
        if found is None:
            break
        mark, node = found
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"


MAX_DIGITS = 310
"""In a whole number: a task carries 1,024 bits, which are 309 digits and a sign. Python prints no more than 4,300."""

_TAG = "tag:yaml.org,2002:"
# The core schema of YAML 1.2 (chapter 10.3), but that what begins with a zero is a text: it is a code, and as a number
# it would lose that zero. Nothing else is resolved: no times, no dates, no `yes`, no `<<`.
_CORE = {
    "null": (re.compile(r"\A(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"\A(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (re.compile(r"\A(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    "float": (
        re.compile(
            r"\A(?:[-+]?(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+))"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
    ),
}
_OTHER_BREAKS = "\x85\u2028\u2029"
"""They end a line in YAML 1.1, which the library reads, and are characters like any other in YAML 1.2."""
_FIRST_STAND_IN = 0xE000
_WAYS_OUT = (
    ("\\t", "Indent with spaces, not with tabs."),
    ("mapping values are not allowed", "Put a text that has ': ' in it in quotes, and indent fields alike."),
    ("cannot start any token", "Put the text in quotes."),
    ("while parsing a flow", "Close every bracket, and put a text that begins with '{' or '[' in quotes."),
    ("<block end>", "Indent fields alike, and put a text that begins with '{', '[' or a quote in quotes whole."),
    ("could not find expected ':'", "Write 'name: value', and put a text of several lines in quotes."),
    ("end of stream", "Close the quotes or brackets."),
    ("constructor for the tag", "Put a text that begins with '!' in quotes."),
    ("single document", "Keep one document to a file."),
)


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML 1.2 as plain values; refuses anchors, keys that stand twice, and numbers that cannot be printed.

    Keys are texts, as they are written: `on`, `2024` and `true` too.
    """

    def __init__(self, text: str) -> None:
        unused = (code for code in range(_FIRST_STAND_IN, 0xF900) if chr(code) not in text)
        found = [character for character in _OTHER_BREAKS if character in text]
        self._stand_ins = dict(zip(unused, found, strict=False))
        super().__init__(text.translate({ord(character): code for code, character in self._stand_ins.items()}))

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise yaml.composer.ComposerError(
                None,
                None,
                f"anchors and aliases are not allowed here. Put a text that begins with '{sign}' in quotes",
                event.start_mark,
            )
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        tag = self.peek_event().tag  # type: ignore[no-untyped-call]  # as above
        node = super().compose_scalar_node(anchor)
        if tag == "!":  # in YAML 1.2 it makes a text of what follows
            node.tag = _TAG + "str"
        node.value = join_surrogates(node.value.translate(self._stand_ins))
        return node

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _wrong("a mapping was expected here", node)
        found: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a name was expected here. Put a text that begins with '{' or '[' in quotes", key)
            self.construct_object(key)  # what it says of itself must be true
            if key.value in found:
                raise _wrong(f"the key {key.value!r:.80} stands twice", key)
            found[key.value] = self.construct_object(value, deep=deep)
        return found

    def construct_core(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix(_TAG)
        text = node.value
        kinds = (kind, "int") if kind == "float" else (kind,)  # `!!float 1` is a float that one may write so
        if not isinstance(node, yaml.ScalarNode) or not any(_CORE[one][0].fullmatch(text) for one in kinds):
            raise _wrong(f"{text!r:.40} is no {kind}", node)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if len(text) > MAX_DIGITS:
            raise _wrong(f"a number of {len(text)} digits is too long. Put it in quotes", node)
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_PlainLoader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first) in _CORE.items():
    _PlainLoader.add_implicit_resolver(_TAG + _kind, _pattern, _first)
_PlainLoader.yaml_constructors = {
    **{_TAG + kind: _PlainLoader.construct_core for kind in _CORE},
    _TAG + "str": yaml.SafeLoader.construct_yaml_str,
    _TAG + "seq": yaml.SafeLoader.construct_yaml_seq,
    _TAG + "map": yaml.SafeLoader.construct_yaml_map,
    None: yaml.SafeLoader.construct_undefined,
}


def _wrong(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _compose(text: str, place: str) -> tuple[yaml.Node | None, _PlainLoader]:
    """Return the nodes of a document, and who makes values of them."""
    if len(text) > MAX_YAML_CHARS:
        raise InvalidPlan(f"YAML of more than {MAX_YAML_CHARS:,} characters takes long to read. Use JSON.", place=place)
    with _explained(place):
        loader = _PlainLoader(text)
        return loader.get_single_node(), loader


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turn what the library raises into an InvalidPlan with the place and the way out."""
    try:
        yield
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = (getattr(error, "problem", None) or str(error)).strip().rstrip(".")
        where = f"{place}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else place
        said = f"{getattr(error, 'context', None) or ''} {problem}"
        way_out = next((f" {way}" for words, way in _WAYS_OUT if words in said), "")
        raise InvalidPlan(f"Not readable as YAML: {problem}.{way_out}", place=where.lstrip(", ")) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise InvalidPlan(f"Not readable as YAML: {type(error).__name__}: {error}.", place=place) from error


_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+]?[.0-9][0-9a-fA-FxXoO_,.:+-]*|[yYnN]")
"""What some reader of YAML takes for something else than a text, beyond what the library knows."""


class _PlainDumper(yaml.SafeDumper):
    """Quotes texts that any version of YAML takes for something else, and those with characters that change what is
    shown, so that they can be escaped; among them are line breaks of other scripts, which the library's plain style
    would turn into spaces."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if STEERS.search(text) else "'" if _LOOKS_LIKE_A_NUMBER.fullmatch(text) else None
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_PlainDumper.add_representer(str, _represent_text)
