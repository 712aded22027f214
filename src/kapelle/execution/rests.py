"""Leaves services alone that ask for it (`Retry-After`): which rest, until when, and who asks first afterwards.

All agents that call a service rest with it, whatever task was told so. After a rest one job asks alone, so that not all
that waited come at once; the others follow once it has ended without being told to wait again, or has not ended for
`MAX_FIRST_S`.
"""

from __future__ import annotations

import asyncio

from kapelle.agents import AgentRegistry
from kapelle.failures import sort_failure

from .ready import ReadyJobs
from .running import OthersMayFollow, Reports, RestOver
from .work import Job

MAX_FIRST_S = 60.0
"""How long a service is asked by one job alone after it wanted to be left alone: who is too busy says so sooner."""


class Rests:
    """The services that rest, in one run."""

    def __init__(self, agents: AgentRegistry, ready: ReadyJobs, reports: Reports, max_rest_s: float) -> None:
        self._agents, self._ready, self._reports = agents, ready, reports
        self._max_rest_s = max_rest_s
        self.resting: dict[str, asyncio.TimerHandle] = {}
        """Services that rest, with when they may be asked again. Mostly empty: whoever asks looks here first."""
        self.first: dict[str, tuple[Job, asyncio.TimerHandle] | None] = {}
        """Services that one job asks first: that job, once it has begun, with when others may follow even if it has not
        ended."""

    @property
    def are_awaited(self) -> bool:
        """Whether a job waits for a rest to end."""
        return any(self._ready.is_waited_for(self._asking_for(service)) for service in self.resting)

    def heed(self, job: Job, error: BaseException) -> None:
        """Leave the service alone that an agent calls, if its error asks for that."""
        seconds = sort_failure(error).retry_after_s
        if not seconds:
            return
        service, loop = self._service_of(job.agent), asyncio.get_running_loop()
        due = loop.time() + seconds
        known = self.resting.get(service)
        if known is not None:
            if known.when() >= due:
                return
            known.cancel()
        over = RestOver(service=service, due=due)
        self.resting[service] = loop.call_at(due, self._reports.put_nowait, over)
        for agent in self._asking_for(service):
            if seconds > self._max_rest_s:
                self._ready.let_go(agent)  # nobody waits that long: its jobs come to nothing at their turn
            else:
                self._ready.hold(agent)

    def why_not_asked(self, job: Job) -> str | None:
        """Return why the agent of a job is not asked at all, where what it calls rests for too long."""
        if job.agent is None:
            return None
        service = self._service_of(job.agent)
        timer = self.resting.get(service)
        left_s = 0.0 if timer is None else timer.when() - asyncio.get_running_loop().time()
        if left_s <= self._max_rest_s:
            return None
        return f"{service} asks to be left alone for another {left_s:.0f} s. Resume the run later."

    def is_left_alone(self, job: Job) -> bool:
        """Whether what a job's agent calls wants to be left alone for so short a time that the job waits."""
        if job.agent is None or self._service_of(job.agent) not in self.resting:
            return False
        self._ready.hold(job.agent)
        return True

    def end(self, service: str, due: float) -> None:
        """A service may be asked again: by one job at first."""
        timer = self.resting.get(service)
        if timer is not None and timer.when() == due:  # not by the clock: a loop rings a moment before the time
            del self.resting[service]
            self._forget_first(service)
            self.first[service] = None
            for agent in self._asking_for(service):
                self._ready.let_go(agent)

    def go_first(self, job: Job) -> None:
        """If a job is the first that asks a service after a rest, the others wait for how that ends."""
        if job.agent is None:
            return
        service = self._service_of(job.agent)
        if self.first.get(service, ()) is not None:
            return
        self.first[service] = job, self._reports.put_later(MAX_FIRST_S, OthersMayFollow(job=job))
        for agent in self._asking_for(service):
            self._ready.hold(agent)

    def let_others_follow(self, job: Job) -> None:
        """If a job was the first after a rest, others may ask as well, unless it was told to wait again."""
        for service, first in list(self.first.items()):
            if first is not None and first[0] is job:
                self._forget_first(service)
                if service not in self.resting:
                    for agent in self._asking_for(service):
                        self._ready.let_go(agent)

    def close(self) -> None:
        """The run has ended."""
        for timer in self.resting.values():
            timer.cancel()
        for service in list(self.first):
            self._forget_first(service)

    def _service_of(self, agent: str | None) -> str:
        """Return the name of what an agent calls: its model's provider, or else the agent itself."""
        assert agent is not None
        named = getattr(self._agents.runner(agent), "service", None)
        if isinstance(named, str) and named:
            return named
        model = self._agents[agent].model
        return model.partition(":")[0] if model else f"agent {agent}"

    def _asking_for(self, service: str) -> list[str]:
        """Return the agents that call a service."""
        return [agent for agent in self._agents.runnable() if self._service_of(agent) == service]

    def _forget_first(self, service: str) -> None:
        first = self.first.pop(service, None)
        if first is not None:
            first[1].cancel()
