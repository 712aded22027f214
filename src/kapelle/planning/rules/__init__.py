"""Requests split by rules, with no model. Read `rule_planner` first."""

from typing import TYPE_CHECKING

from .for_each import ForEachAgent as ForEachAgent
from .for_each_card import FOR_EACH_CARD as FOR_EACH_CARD
from .rule_planner import RulePlanner as RulePlanner

if TYPE_CHECKING:
    from .items import read_items as read_items
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "items": "read_items",
        },
    )
