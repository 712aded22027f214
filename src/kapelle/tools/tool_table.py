"""The tools that an agent is told of: one table, sorted and frozen when the agent is built, always written the same.

Eleven documented actions are the static tools. Each has a native name, grouped by prefix, and a word of the text
protocol. BROWSER is one action and several native tools, since each takes other arguments: natively `browser_open`,
`browser_click` and so on; as text `BROWSER` opens a page and the others have words of their own. Tools of users join
when the table is built. Nothing joins or leaves later, and nothing here runs a tool.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from kapelle.errors import InvalidInput
from kapelle.models import ToolDefinition

from .agent_states import ALLOWED_ACTIONS, AgentState

MAX_NAME = 64
"""Characters: what OpenAI, Anthropic and Gemini all take."""
# Gemini wants a letter or an underscore in front; a dot, which it takes, is refused by the others.
_LEGAL = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}", re.ASCII)
_HASH_CHARS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRow:
    """One tool: what models are told, how it is written, and what may be done with it.

    Raises:
        InvalidInput: its name is none that every provider takes, or a field of the text protocol is no argument.
    """

    definition: ToolDefinition
    action: str = ""
    """The documented action; the native name in capitals for a tool of a user."""
    word: str = ""
    """As in `ACTION: READ_FILE`: one word for each tool. Empty is `action`."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of the text protocol to arguments, in their order; only the last may run over many lines. Empty is every
    argument by its name in capitals."""
    has_effects: bool = True
    """Whether it changes something that must not be changed twice: then a call that was cut off is asked about."""
    needs_approval: bool = False
    """Whether a person allows each call, where the user does not say otherwise."""
    states: frozenset[AgentState] | None = None
    """Where it is allowed. None is what the document says of a static tool; of others, EXECUTING alone if it has
    effects, and else PLANNING and VERIFYING too."""

    def __post_init__(self) -> None:
        name = self.definition.name
        if not _LEGAL.fullmatch(name):
            raise InvalidInput(
                f"The tool {name!r} has a name that some provider refuses: letters, digits, _ and - only, a letter or "
                f"_ first, at most {MAX_NAME} of them. Call it {legal_tool_name(name)!r}."
            )
        definition = replace(
            self.definition,
            parameters=_in_order(self.definition.parameters, tool=name),
            outputs=_in_order(self.definition.outputs, tool=name),
        )
        object.__setattr__(self, "definition", definition)
        object.__setattr__(self, "action", self.action or clean_tool_name(name).upper())
        object.__setattr__(self, "word", self.word or self.action)
        fields = self.fields or {argument.upper(): argument for argument in definition.properties}
        object.__setattr__(self, "fields", dict(fields))
        unknown = [argument for argument in fields.values() if argument not in definition.properties]
        if unknown:
            raise InvalidInput(
                f"The text protocol writes {unknown!r} for {name!r}, which takes no such argument: "
                f"{', '.join(definition.properties) or 'it takes none'}."
            )

    def allows(self, state: AgentState) -> bool:
        """Whether it may be called in a state."""
        if self.states is not None:
            return state in self.states
        if self.action in STATIC_ACTIONS:
            return self.action in ALLOWED_ACTIONS[state]
        if self.has_effects:
            return state is AgentState.EXECUTING
        return state in (AgentState.PLANNING, AgentState.EXECUTING, AgentState.VERIFYING)


class ToolTable:
    """The rows, sorted by native name. Two tables of the same tools are written the same, in every process.

    >>> table = ToolTable()
    >>> table["READ_FILE"].definition.name, len({row.action for row in table.rows})
    ('file_read', 11)

    Args:
        tools: of the user. A plain definition is taken as a tool with effects.
        static: the tools beside them; all documented ones.

    Raises:
        InvalidInput: two tools have one name, or names that are one after cleaning.
    """

    def __init__(
        self, tools: Iterable[ToolRow | ToolDefinition] = (), *, static: Iterable[ToolRow] | None = None
    ) -> None:
        own = [tool if isinstance(tool, ToolRow) else ToolRow(definition=tool) for tool in tools]
        rows = [*(STATIC_TOOLS if static is None else static), *own]
        self._rows = tuple(sorted(rows, key=lambda row: row.definition.name))
        self._by_name = _index(rows)

    @property
    def rows(self) -> tuple[ToolRow, ...]:
        """All of them, sorted by native name."""
        return self._rows

    @cached_property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """What models are told: the same in every call."""
        return tuple(row.definition for row in self._rows)

    @cached_property
    def names(self) -> frozenset[str]:
        """Native names."""
        return frozenset(row.definition.name for row in self._rows)

    @cached_property
    def serialised(self) -> bytes:
        """The definitions as JSON, byte for byte the same in every process."""
        told = [
            {"name": one.name, "description": one.description, "parameters": dict(one.parameters)}
            for one in self.definitions
        ]
        return json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode("ascii")

    @cached_property
    def digest(self) -> str:
        """Tells this table from every other: of what models are told."""
        return hashlib.sha256(self.serialised).hexdigest()

    def allowed(self, state: AgentState) -> frozenset[str]:
        """Return the native names that a state allows."""
        return frozenset(row.definition.name for row in self._rows if row.allows(state))

    def find(self, name: str) -> ToolRow | None:
        """Return the row of a native name or of a word of the text protocol; None where there is none."""
        return self._by_name.get(name)

    def __getitem__(self, name: str) -> ToolRow:
        row = self.find(name)
        if row is None:
            raise InvalidInput(f"There is no tool {name!r}. There are: {', '.join(sorted(self.names))}.")
        return row

    def __len__(self) -> int:
        return len(self._rows)


def clean_tool_name(name: str) -> str:
    """Return a name as a program writes it: what is no letter or digit becomes an underscore.

    >>> clean_tool_name("stock.read") == clean_tool_name("stock-read")
    True
    """
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def legal_tool_name(*parts: str) -> str:
    """Return a name that every provider takes; of a server's name and its tool's, for one.

    One that is legal stays. What has to be changed gets a hash of the whole name, so that two names stay two, in every
    run, whichever came first.

    >>> legal_tool_name("files", "read"), legal_tool_name("stock.read"), legal_tool_name("stock/read")
    ('files_read', 'stock_read_d9285749', 'stock_read_a7dc4a00')
    """
    name = "_".join(parts)
    # A separator within a part would make ("a_b", "c") and ("a", "b_c") one.
    told_apart = len(parts) < 2 or not any("_" in part for part in parts[:-1])
    if told_apart and _LEGAL.fullmatch(name):
        return name
    mark = hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:_HASH_CHARS]
    cleaned = clean_tool_name(name)
    if not cleaned or cleaned[0].isdigit():
        cleaned = f"_{cleaned}"
    return f"{cleaned[: MAX_NAME - _HASH_CHARS - 1]}_{mark}"


def _index(rows: Iterable[ToolRow]) -> dict[str, ToolRow]:
    by_name: dict[str, ToolRow] = {}
    taken: dict[str, str] = {}
    for row in rows:
        name = row.definition.name
        # Case is no difference either: words of the text protocol are in capitals.
        for key in {clean_tool_name(name).lower(), clean_tool_name(row.word).lower()}:
            other = taken.setdefault(key, name)
            if other != name or name in by_name:
                raise InvalidInput(
                    f"The tools {other!r} and {name!r} have the same name{'' if other == name else ' once cleaned'}. "
                    "Rename one: a call could not say which it means."
                )
        by_name[name] = row
    return by_name | {row.word: row for row in by_name.values()}


def _in_order(schema: Mapping[str, Any], *, tool: str) -> dict[str, Any]:
    """Return a copy of a schema whose text depends on nothing but what it says: not on sets, nor on their order."""
    try:
        ordered = _ordered(copy.deepcopy(dict(schema)))
        json.dumps(ordered, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The schema of the tool {tool!r} cannot be written as JSON: {error}.") from error
    assert isinstance(ordered, dict)
    return ordered


def _ordered(value: Any, *, of: str = "") -> Any:
    if isinstance(value, Mapping):
        return {str(key): _ordered(value[key], of=str(key)) for key in sorted(value, key=str)}
    if isinstance(value, (set, frozenset)):
        return sorted((_ordered(one) for one in value), key=repr)
    if isinstance(value, (list, tuple)):
        items = [_ordered(one) for one in value]
        names = of == "required" and all(isinstance(one, str) for one in items)
        return sorted(items) if names else items
    return value


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _number(description: str, *, least: int = 1, most: int | None = None) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "description": description} | ({"maximum": most} if most else {})


def _row(
    name: str,
    action: str,
    description: str,
    arguments: Mapping[str, Mapping[str, Any]],
    *,
    optional: Iterable[str] = (),
    word: str = "",
    has_effects: bool = False,
    needs_approval: bool = False,
) -> ToolRow:
    """Return a static tool; fields of the text protocol are its arguments in capitals, in this order."""
    parameters = {
        "type": "object",
        "properties": dict(arguments),
        "required": [argument for argument in arguments if argument not in set(optional)],
        "additionalProperties": False,
    }
    return ToolRow(
        definition=ToolDefinition(name=name, description=description, parameters=parameters),
        action=action,
        word=word,
        fields={argument.upper(): argument for argument in arguments},
        has_effects=has_effects,
        needs_approval=needs_approval,
    )


_NUMBER = _number("The number of the element in the page as it was last read.", least=0)

STATIC_TOOLS: tuple[ToolRow, ...] = (
    _row(
        "file_create",
        "CREATE_FILE",
        "Write a file of the workspace as a whole; or, with `replaces`, put `content` in the place of that text.",
        {
            "path": _text("Within the workspace."),
            "replaces": _text("A text that stands once in the file."),
            "content": _text("What is written."),
        },
        optional=["replaces"],
        has_effects=True,
    ),
    _row(
        "file_list",
        "LIST_FILES",
        "List a folder of the workspace with the sizes of its files.",
        {"path": _text("The folder; the workspace itself where it is left out."), "depth": _number("Levels.", most=10)},
        optional=["path", "depth"],
    ),
    _row(
        "file_read",
        "READ_FILE",
        "Read a text file of the workspace, or some lines of it.",
        {
            "path": _text("Within the workspace."),
            "start": _number("The first line, from 1."),
            "lines": _number("How many lines."),
        },
        optional=["start", "lines"],
    ),
    _row(
        "shell_execute",
        "EXECUTE",
        "Run a command in the workspace, within the sandbox.",
        {"command": _text("As a shell takes it.")},
        has_effects=True,
    ),
    _row(
        "todo_update",
        "UPDATE_TODO",
        "Write the list of what is done and what is left; it takes the place of the list before.",
        {"content": _text("The whole list.")},
    ),
    # A check can be made again, so one that was cut off is.
    _row(
        "verify",
        "VERIFY",
        "Run a command that succeeds where the work is right, and that changes nothing.",
        {"command": _text("Such as the tests.")},
    ),
    _row(
        "browser_open",
        "BROWSER",
        "Open a page and read it as text with numbered links, buttons and fields.",
        {"url": _text("http or https.")},
        has_effects=True,
    ),
    _row(
        "browser_read",
        "BROWSER",
        "Read the open page again.",
        {},
        word="BROWSER_READ",
    ),
    _row(
        "browser_click",
        "BROWSER",
        "Click an element of the open page.",
        {"number": _NUMBER},
        word="BROWSER_CLICK",
        has_effects=True,
    ),
    _row(
        "browser_type",
        "BROWSER",
        "Type a text into a field of the open page.",
        {"number": _NUMBER, "text": _text("What is typed.")},
        word="BROWSER_TYPE",
        has_effects=True,
    ),
    _row(
        "browser_screenshot",
        "BROWSER",
        "Keep a picture of the open page in the workspace.",
        {"path": _text("A .png file within the workspace.")},
        word="BROWSER_SCREENSHOT",
        has_effects=True,
    ),
    _row(
        "web_search",
        "SEARCH_WEB",
        "Search the web; gives titles, addresses and excerpts.",
        {"query": _text("What to look for."), "max_results": _number("How many results.", most=50)},
        optional=["max_results"],
    ),
    _row(
        "delegate",
        "DELEGATE",
        "Give a task to an agent of a type; gives its answer.",
        {
            "agent_type": _text("Such as knowledge, planner, browser, code, test, review, debug."),
            "budget": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "Share of what is left."},
            "task": _text("All that the agent has to know."),
        },
        optional=["budget"],
        has_effects=True,
    ),
    _row(
        "reflect",
        "REFLECT",
        "Think about what went well and what did not.",
        {"content": _text("The thoughts.")},
    ),
    _row(
        "note_lesson",
        "NOTE_LESSON",
        "Keep a lesson for later tasks.",
        {"lesson": _text("In one or two sentences.")},
        has_effects=True,
    ),
)
"""Every documented action: nine of them, and for LEARNING two."""

STATIC_ACTIONS = frozenset(row.action for row in STATIC_TOOLS)
