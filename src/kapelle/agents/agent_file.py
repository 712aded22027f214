"""Agents as they stand in a YAML file: a list `agents`, each with the fields of AgentCapability."""

from __future__ import annotations

from typing import Annotated

import pydantic

from kapelle.documents import describe_validation_error, parse_yaml
from kapelle.errors import InvalidAgents, InvalidInput

from .capability import AgentCapability, CostTier


class AgentEntry(pydantic.BaseModel):
    """One agent as it stands in a YAML file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    agent_id: Annotated[str, pydantic.Field(validation_alias=pydantic.AliasChoices("agent_id", "id"))]
    task_types: list[str]
    skills: list[str] = []
    cost_tier: CostTier = "cheap"
    model: str | None = None
    cost_usd: float | None = None
    seconds: float | None = None
    success_rate: float = 0.85
    max_concurrency: int = 10
    timeout_s: float | None = None
    retries: int | None = None
    description: str = ""
    version: str | None = None
    instructions: str | None = None
    run: str | None = None

    def capability(self) -> AgentCapability:
        fields = self.model_dump(exclude={"instructions", "run"})
        return AgentCapability(**fields)


class _AgentFile(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    agents: list[AgentEntry]


def parse_agents(text: str, *, place: str) -> tuple[list[AgentCapability], list[AgentEntry]]:
    """Return the agents of a text, and each as it stands there.

    Raises:
        InvalidAgents: it is malformed; the message names `place`, the agent and the field.
    """
    try:
        file = _AgentFile.model_validate(parse_yaml(text, place=place))
        return [entry.capability() for entry in file.agents], file.agents
    except pydantic.ValidationError as error:
        raise InvalidAgents(f"{place}: {describe_validation_error(error)}") from error
    except InvalidAgents as error:
        raise InvalidAgents(f"{place}: {error}") from error
    except InvalidInput as error:
        raise InvalidAgents(str(error)) from error
