"""What an agent that asks a model tells of itself. Loads no model and no library of one: whoever asks may have none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from kapelle.models import PriceTable

    from .capability import AgentCapability


class OnModel(ABC):
    """An agent whose work is done by a model."""

    @property
    @abstractmethod
    def is_model_alone(self) -> bool:
        """Whether it is a model and nothing else, without tools: then it has from memory what it was not given."""

    @abstractmethod
    def with_card(self, prices: PriceTable, card: AgentCapability) -> Self:
        """Return the agent with a table of prices and what its card says, where it was not made with its own."""

    @abstractmethod
    def find_unpriced(self) -> str | None:
        """Return the model that the agent asks and whose price nobody knows; None also where only replies will tell."""
