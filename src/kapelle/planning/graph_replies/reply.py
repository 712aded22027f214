"""Reads what a planning model replied, whatever surrounds the plan and however it is quoted.

Forgiven, with a note for each: prose and code fences around the plan; wrong, typographic or missing quotes; missing
`</node>`, `</graph>`, `</think>`; bare `&` and `<` in texts; ids that are numbers; dependencies separated by anything;
JSON with comments, trailing commas or Python's literals; several shapes of JSON; numbered lines of calls.

Refused, with the line, the node and the way out, because a guess could lose work: several different graphs (one in a
`<reflection>` revises the plan, and counts; one in `<think>` is a draft, and counts only where there is no other), text
among the nodes that looks like work, a reply that stops in the middle, DTDs, graphs beyond the limits of `<graph>`.
Observations and answers in a reply that plans are inventions, for nothing has run: they are returned, and are no plan.

Every part of this takes time in proportion to the length of the reply.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kapelle.errors import CycleFound, InvalidGraph, InvalidPlan, UnknownTask
from kapelle.graph import GraphPatch, Task, TaskDAG
from kapelle.planning.planner import DraftMender

from .changes import find_difference, read_patch
from .json_plan import JsonPlan, find_json_plans
from .lines import find_lines
from .markup import read_markup
from .nodes import FoundGraph, FoundPatch, Markup, Node, Repairs, make_drafts, make_tasks, tidy_node
from .plan_repair import mend_nodes
from .yaml_plan import find_yaml_plans

_JSON_FIRST = re.compile(r"\s*(?:```\w*[^\S\n]*\n\s*)?[\[{]")
_THINK = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)

_OTHER_NODE = re.compile(r"<(?:task|step)\s[^<>]*\bid\s*=", re.IGNORECASE)
_OTHER_TAG = re.compile(r"<(?P<end>/?)(?:task|step|(?P<all>tasks|steps))(?=[\s/>])", re.IGNORECASE)
_START_OF_PLAN = re.compile(r"[\[{]|^[ \t]*(?:- )?\w+:|^[ \t]*\d+[.)]", re.MULTILINE)

MAX_REPLY_CHARS = 2_000_000
"""Far more than any model writes in one reply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GapReply:
    """What a reply says, by the functions of graph planning."""

    think: str = ""
    graph: TaskDAG | None = None
    """The plan; None where the reply has none."""
    patch: GraphPatch | None = None
    """What a reflection changes; None where it changes nothing."""
    reflection: str = ""
    observation: str = ""
    answer: str = ""
    repairs: tuple[str, ...] = ()
    """What was mended, a sentence each, for the user."""


def read_reply(
    text: str,
    *,
    current: TaskDAG | None = None,
    finished: Collection[str] = (),
    cut_off: bool = False,
    wanted: str = "<graph>",
    mend: DraftMender | None = None,
) -> GapReply:
    """Return what a model replied.

    Args:
        text: The reply; untrusted.
        current: The plan that is under way, for a reply that reflects on it. Then a `<patch>`, or a whole new graph,
            becomes `patch`, and has been checked against the plan.
        finished: The tasks of `current` that ran already; they stay as they are.
        cut_off: The provider says that the reply was too long, so that the end is missing.
        wanted: What a plan was asked for as, for the error where there is none.
        mend: Mends tasks that wait for each other, or for none that is there, where it can.

    Raises:
        InvalidPlan: there is no plan, patch or answer in it, or what it means is not clear; the message says where, and
            what to do about it, for the model as well.

    >>> reply = read_reply("Sure!\\n```xml\\n<graph><node id='1'>search(“capital of Peru”)</node>\\n```")
    >>> reply.graph["s1"].inputs
    {'query': 'capital of Peru'}
    >>> len(reply.repairs)
    3
    """
    if not isinstance(text, str):
        raise InvalidPlan(f"The reply is a {type(text).__name__}, not a text.")
    if len(text) > MAX_REPLY_CHARS:
        raise InvalidPlan(f"The reply has {len(text):,} characters; at most {MAX_REPLY_CHARS:,} are read. Be shorter.")
    text = text.encode("utf-8", "replace").decode("utf-8")  # halves of characters could not be stored or printed
    reading = _Reading(current=current, finished=frozenset(finished), cut_off=cut_off, wanted=wanted, mend=mend)
    try:
        return reading.read(text)
    except InvalidPlan:
        raise
    except InvalidGraph as error:
        raise InvalidPlan(str(error)) from error


def read_nodes(nodes: list[Node], repairs: Repairs, *, known: Iterable[str] | None = None) -> list[list[Task]]:
    """Return the tasks of each node, after tidying them up; `known` are those of the plan that they change."""
    ids = {node.task_id for node in nodes}
    for node in nodes:
        tidy_node(node, repairs, ids=ids)
    if known is None:
        mend_nodes(nodes, repairs)  # a new plan: what it waits for must be in it
    return make_tasks(nodes, known=known or ())


class _Reading:
    """One reply being read."""

    def __init__(
        self,
        *,
        current: TaskDAG | None,
        finished: frozenset[str],
        cut_off: bool,
        wanted: str,
        mend: DraftMender | None,
    ) -> None:
        self._current = current
        self._mend = mend
        self._finished = finished
        self._cut_off = cut_off
        self._wanted = wanted if current is None else "<patch>"
        self._repairs = Repairs()

    def read(self, text: str) -> GapReply:
        text = self._without_quotes(text)
        plan = self._read_whole_json(text)
        if plan is not None:
            return self._from_json([plan])
        if "<node" not in text and _OTHER_NODE.search(text):
            text = _OTHER_TAG.sub(lambda tag: f"<{tag['end']}{'graph' if tag['all'] else 'node'}", text)
            self._repairs.note("The tags of tasks were read as those of nodes")
        markup = self._read_markup(text)
        if any(graph.nodes for graph in markup.graphs) or markup.patches:
            return self._from_markup(markup)
        rest = _without_thoughts(text)
        if '"' not in rest and "&quot;" in rest:
            rest = html.unescape(rest)
            self._repairs.note("Quotes that were written for HTML were read as quotes")
        plans = find_json_plans(rest, self._repairs) or find_yaml_plans(rest, self._repairs)
        if not any(plan.has_work for plan in plans) and rest != text:
            plans = find_json_plans(text, self._repairs) or plans  # only the thoughts hold one
        if plans:
            return self._from_json(plans)
        nodes = find_lines(rest, self._repairs)
        if nodes:
            self._refuse_cut_off()
            self._repairs.note("The plan was read from numbered lines")
            return self._reply(nodes, version=None, sections=markup)
        if markup.section("answer"):
            return self._reply(None, version=None, sections=markup)
        if markup.graphs:
            raise InvalidPlan("The graph has no nodes. Give at least one.", place=f"line {markup.graphs[0].line}")
        raise InvalidPlan(f"There is no {self._wanted} in the reply. Send one, complete.")

    def _without_quotes(self, text: str) -> str:
        """The reply, where it was written as a text of JSON: `"{\\"tasks\\": ...}"`."""
        for _ in range(3):
            said = text.strip()
            if len(said) < 2 or said[0] != '"' or said[-1] != '"':
                break
            try:
                inner = json.loads(said)
            except (ValueError, RecursionError):
                break
            if not isinstance(inner, str):
                break
            text = inner
            self._repairs.note("The reply was a text in quotes, and was read as what it holds")
        return text

    def _read_whole_json(self, text: str) -> JsonPlan | None:
        """The plan of a reply that is JSON: its texts may hold tags, which then are no tags of the reply."""
        starts_so = _JSON_FIRST.match(text) is not None
        if not starts_so and not ("<node" in text and '=\\"' in text):
            return None
        repairs = Repairs()
        try:
            plans = [plan for plan in find_json_plans(text, repairs) if plan.has_work]
        except InvalidPlan:
            return None
        if len(plans) != 1 or not (starts_so or plans[0].xml):
            return None
        repairs.places = {**self._repairs.places, **repairs.places}
        self._repairs = repairs
        return plans[0]

    def _read_markup(self, text: str) -> Markup:
        markup = read_markup(text, cut_off=self._cut_off)
        if any(graph.nodes for graph in markup.graphs) or markup.patches:
            return markup
        thoughts = markup.sections.get("think", [])
        if len(thoughts) == 1 and ("<node" in thoughts[0] or "<patch" in thoughts[0]):
            drafts = read_markup(thoughts[0], cut_off=self._cut_off, first_line=markup.think_line)
            if any(graph.nodes for graph in drafts.graphs) or drafts.patches:
                missing = markup.think_is_open
                markup.repairs.note("A missing </think> was added" if missing else "The plan stood inside of <think>")
                markup.graphs, markup.patches = drafts.graphs, drafts.patches
                for what, places in drafts.repairs.places.items():
                    markup.repairs.places.setdefault(what, []).extend(places)
                markup.sections = {**drafts.sections, **{k: v for k, v in markup.sections.items() if k != "think"}}
        return markup

    def _from_markup(self, markup: Markup) -> GapReply:
        for what, places in self._repairs.places.items():
            markup.repairs.places.setdefault(what, []).extend(places)
        self._repairs = markup.repairs
        if markup.patches:
            return self._patched(_only_patch(markup.patches), markup)
        graphs = [graph for graph in markup.graphs if graph.nodes and graph.section != "think"]
        graphs = graphs or [graph for graph in markup.graphs if graph.nodes]
        revised = [graph for graph in graphs if graph.section == "reflection"]
        if revised and len(revised) < len(graphs):
            self._repairs.note("The reflection revised the plan, and its graph counts")
        graph = self._only_graph(revised or graphs)
        return self._reply(graph.nodes, version=graph.version, sections=markup)

    def _only_graph(self, graphs: list[FoundGraph]) -> FoundGraph:
        """The graph that counts: the only one, or any of several that say the same."""
        first, *others = graphs
        said = [(node.attributes, node.text) for node in first.nodes]
        for other in others:
            if [(node.attributes, node.text) for node in other.nodes] != said:
                lines = " and ".join(f"line {graph.line}" for graph in graphs[:3])
                raise InvalidPlan(
                    f"There are {len(graphs)} different graphs, at {lines}. Send one, the one that counts.",
                    place=f"line {other.line}",
                )
        if others:
            self._repairs.note("The same graph stood there more than once")
        return first

    def _from_json(self, plans: list[JsonPlan]) -> GapReply:
        work = [plan for plan in plans if plan.has_work]
        if not work:
            sections = _joined_sections(plans)
            if sections.section("answer"):
                return self._reply(None, version=None, sections=sections)
            raise InvalidPlan('There are no tasks in the JSON. Send {"tasks": [...]}.', place=f"line {plans[0].line}")
        first, *others = work
        if any(_said(plan) != _said(first) for plan in others) and work[-1].is_final:
            first, others = work[-1], []
            self._repairs.note("The last of several plans was taken, as the words before it say")
        if any(_said(plan) != _said(first) for plan in others):
            lines = " and ".join(f"line {plan.line}" for plan in work[:3])
            raise InvalidPlan(f"There are {len(work)} different plans, at {lines}. Send one, the one that counts.")
        if first.is_open:
            self._refuse_cut_off()
        if first.xml:
            inner = self._read_markup(first.xml)
            inner.sections = {**{k: [v] for k, v in first.sections.items()}, **inner.sections}
            return self._from_markup(inner)
        sections = _joined_sections(plans)
        if first.patch is not None:
            return self._patched(first.patch, sections)
        assert first.nodes is not None
        return self._reply(first.nodes, version=None, sections=sections)

    def _reply(self, nodes: list[Node] | None, *, version: str | None, sections: Markup) -> GapReply:
        graph, patch = None, None
        if nodes is not None:
            if not nodes:
                raise InvalidPlan("The plan has no tasks. Give at least one.")
            if self._current is None:
                graph = self._graph_of(nodes, version)
            else:
                made = read_nodes(nodes, self._repairs, known=self._current.tasks)
                patch = find_difference([task for tasks in made for task in tasks], self._current, self._finished)
        return self._said(sections, graph=graph, patch=patch)

    def _said(self, sections: Markup, *, graph: TaskDAG | None = None, patch: GraphPatch | None = None) -> GapReply:
        return GapReply(
            think=sections.section("think"),
            graph=graph,
            patch=patch,
            reflection=sections.section("reflection"),
            observation=sections.section("observation"),
            answer=sections.section("answer"),
            repairs=self._repairs.notes(),
        )

    def _graph_of(self, nodes: list[Node], version: str | None) -> TaskDAG:
        try:
            made = [task for tasks in read_nodes(nodes, self._repairs) for task in tasks]
        except InvalidPlan as error:
            if self._mend is None or not isinstance(error.__cause__, (UnknownTask, CycleFound)):
                raise
            drafts = make_drafts(nodes)
            mended = None if drafts is None else self._mend(drafts)
            if mended is None:
                raise
            for what in mended[1]:
                self._repairs.note(what.removesuffix("."))
            return mended[0]
        return TaskDAG(made, version=_read_version(version))

    def _patched(self, found: FoundPatch, sections: Markup) -> GapReply:
        self._refuse_cut_off()
        if self._current is None:
            raise InvalidPlan(
                "A patch changes a plan, and there is none yet. Send the whole plan as one <graph>.",
                place=f"line {found.line}",
            )
        made = read_nodes(found.nodes, self._repairs, known=self._current.tasks) if found.nodes else []
        return self._said(sections, patch=read_patch(found, made, self._current, self._finished))

    def _refuse_cut_off(self) -> None:
        if self._cut_off:
            raise InvalidPlan("The reply was cut off. Send all of it, shorter.")


def _only_patch(patches: list[FoundPatch]) -> FoundPatch:
    if len(patches) > 1:
        raise InvalidPlan("There are two patches. Send one.", place=f"line {patches[1].line}")
    return patches[0]


def _without_thoughts(text: str) -> str:
    """The reply without its thoughts; lines stay where they are."""
    kept, position = [], 0
    first_end, first_start = _THINK_END.search(text), _THINK.search(text)
    is_unopened = first_end is not None and (first_start is None or first_start.start() > first_end.start())
    if first_end is not None and is_unopened and _START_OF_PLAN.search(text, first_end.end()):
        kept, position = ["\n" * text.count("\n", 0, first_end.end())], first_end.end()
    while (start := _THINK.search(text, position)) is not None:
        end = _THINK_END.search(text, start.end())
        if end is None:
            break
        kept += [text[position : start.start()], "\n" * text.count("\n", start.start(), end.end())]
        position = end.end()
    return "".join([*kept, text[position:]])


def _joined_sections(plans: list[JsonPlan]) -> Markup:
    joined = Markup()
    for plan in plans:
        for name, text in plan.sections.items():
            joined.sections.setdefault(name, []).append(text)
    return joined


def _said(plan: JsonPlan) -> object:
    """What a plan says, wherever it stands."""
    patch = plan.patch
    nodes = None if plan.nodes is None else [(node.attributes, node.text) for node in plan.nodes]
    changes = None if patch is None else (patch.remove, [(node.attributes, node.text) for node in patch.nodes])
    return nodes, plan.xml, changes


def _read_version(text: str | None) -> int:
    try:
        return int(text) if text is not None else 1
    except ValueError:
        return 1
