"""Routing rules from a YAML file: the user's, and those that come with the 15 documented agents."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Annotated, Any

import pydantic

from kapelle.documents import describe_validation_error, parse_yaml, read_text
from kapelle.errors import InvalidAgents, InvalidInput

from .rules import RoutingRule, check_rule_ids


def load_rules(path: Path | str) -> tuple[RoutingRule, ...]:
    """Read rules from a YAML file: a list `rules`, each with the fields of RoutingRule (`id` and `agent` for short).

    Raises:
        InvalidAgents: the file is malformed, or two rules share an id; the message names the rule and the field.
        NotFound: there is no such file.
    """
    return _parse_rules(read_text(path), place=str(path))


def default_rules() -> tuple[RoutingRule, ...]:
    """Return the rules for the 15 documented agents."""
    text = importlib.resources.files("kapelle.routing").joinpath("rules.yaml").read_text(encoding="utf-8")
    return _parse_rules(text, place="rules.yaml")


class _RuleEntry(pydantic.BaseModel):
    """One rule as it stands in a YAML file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    rule_id: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("rule_id", "id"))]
    agent_id: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("agent_id", "agent"))]
    task_types: list[str]
    requires: list[str] = []
    metadata: dict[str, Any] = {}
    keywords: list[str] = []
    priority: int = 0
    reason: str = ""


class _RuleFile(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    rules: list[_RuleEntry]


def _parse_rules(text: str, *, place: str) -> tuple[RoutingRule, ...]:
    try:
        file = _RuleFile.model_validate(parse_yaml(text, place=place))
        rules = tuple(RoutingRule(**entry.model_dump()) for entry in file.rules)
        check_rule_ids(rules)
    except pydantic.ValidationError as error:
        raise InvalidAgents(f"{place}: {describe_validation_error(error)}") from error
    except InvalidAgents as error:
        raise InvalidAgents(f"{place}: {error}") from error
    except InvalidInput as error:
        raise InvalidAgents(str(error)) from error
    return rules
