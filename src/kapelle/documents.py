"""Reads YAML and JSON documents that come from outside, and says where they are wrong.

Every file and reply is untrusted: documents have a size limit, only plain values are built, and aliases are refused
because a few lines of them unfold into gigabytes (the "billion laughs").
"""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from kapelle.errors import InvalidPlan, NotFound

MAX_DOCUMENT_BYTES = 3_000_000
"""Larger than any plan a person or a model writes; smaller than what hurts to parse."""

MAX_YAML_CHARS = 150_000
"""Reading YAML takes ten seconds a megabyte; JSON, which machines write, a hundredth of that."""


def read_text(path: Path | str) -> str:
    """Return the text of a file.

    Raises:
        NotFound: there is no such file.
        InvalidPlan: it is too large, or not UTF-8.
    """
    path = Path(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidPlan("This is no plain file. Name one.", place=str(path))
        if facts.st_size > MAX_DOCUMENT_BYTES:
            raise InvalidPlan(f"The file is larger than {MAX_DOCUMENT_BYTES:,} bytes. Split it.", place=str(path))
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidPlan(f"The file is not UTF-8 text (byte {error.start}).", place=str(path)) from error
    except OSError as error:
        raise NotFound(f"Cannot read {str(path)!r}: {error.strerror or error}. Check the path.") from error


def parse_yaml(text: str, *, place: str = "") -> Any:
    """Return the plain values of a YAML (or JSON) document.

    Raises:
        InvalidPlan: it is malformed or uses aliases; the message names the line.
    """
    if len(text) > MAX_YAML_CHARS:
        raise InvalidPlan(f"YAML of more than {MAX_YAML_CHARS:,} characters takes long to read. Use JSON.", place=place)
    try:
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader, with aliases refused as well
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        where = f"{place}, line {mark.line + 1}" if mark is not None else place
        raise InvalidPlan(f"Not readable as YAML: {problem}.", place=where.lstrip(", ")) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise InvalidPlan(f"Not readable as YAML: {type(error).__name__}: {error}.", place=place) from error


def parse_json(text: str, *, place: str = "") -> Any:
    """Return the plain values of a JSON document; the errors are those of `parse_yaml`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{place}, line {error.lineno}".lstrip(", ")
        raise InvalidPlan(f"Not readable as JSON: {error.msg}.", place=where) from error
    except (RecursionError, ValueError) as error:
        raise InvalidPlan(f"Not readable as JSON: {type(error).__name__}: {error}.", place=place) from error


def describe_validation_error(error: pydantic.ValidationError, *, most: int = 5) -> str:
    """Return pydantic's findings as one line a person can act on, at most `most` of them."""
    found = error.errors(include_url=False)
    parts = [f"{_path_text(item['loc'])}: {item['msg'].lower()}" for item in found[:most]]
    rest = f" (and {len(found) - most} more)" if len(found) > most else ""
    return "; ".join(parts) + rest


def _path_text(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "document"


MAX_DIGITS = 300
"""In a whole number: more than any plan needs, fewer than Python refuses to print (4,300)."""


class _PlainLoader(yaml.SafeLoader):
    """Builds plain values only; refuses aliases, keys that stand twice, and numbers that cannot be printed."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r:.80} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value)} digits is too long", node.start_mark
            )
        return int(super().construct_yaml_int(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
