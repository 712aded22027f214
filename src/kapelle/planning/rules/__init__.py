"""Requests split by rules, with no model. Read `rule_planner` first."""

from .for_each import FOR_EACH_CARD as FOR_EACH_CARD
from .for_each import ForEachAgent as ForEachAgent
from .for_each import read_items as read_items
from .rule_planner import RulePlanner as RulePlanner
