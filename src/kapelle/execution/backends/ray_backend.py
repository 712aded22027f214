"""Runs agents on the workers of a Ray cluster (ray.io). An extra: `pip install 'kapelle[ray]'`.

What travels is the agent, its task and what it may know, pickled; what comes back is its result. The budget, the
journal and every decision stay with the driver. Ray retries nothing by itself: a worker that is lost is WorkerLost, and
the executor decides whether the task is made again.

A task says in its metadata what it needs of a machine: `resources: {num_gpus: 1, num_cpus: 2, memory_gb: 8}`, and names
of the cluster's own resources with amounts. A task that says nothing takes one CPU's place while it runs; Ray counts
places, it does not hold anybody to them. What no node has, Ray waits for without an end; here a task that asks for it
fails after a while.

The cluster is the one that RAY_ADDRESS names, else one on this machine, which is started with the first task, sends no
usage statistics, and ends with the program. Not covered: `TaskContext.tell` is None on workers (text is not streamed
across machines), and files that an agent reads must be where it runs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from kapelle.agents import Agent, AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput, WorkerLost
from kapelle.execution.error_reports import describe_error
from kapelle.execution.results import Patience, hide_known_of, read_there
from kapelle.graph import Task
from kapelle.redaction import get_logger

from .carried_errors import pack_error, unpack_error
from .ray_nodes import ClusterNodes

logger = get_logger(__name__)

GRACE_S = 2.0
"""How long a cancelled agent may tidy up on its worker before the worker is ended."""
WAKE_S = 0.1
"""How soon an agent that waits notices that it is cancelled."""
WATCH_S = 1.0
"""How often it is looked whether a task that has not ended can run at all."""
PATIENCE_S = 240.0
"""What starting a machine takes in a cloud; less than a task may take by default, so that the reason is told."""
_BYTES = 2**30


class RayBackend:
    """Runs each agent's call as a Ray task.

    Args:
        address: The cluster's; by default RAY_ADDRESS, else a cluster of this machine's own.
        patience_s: How long a task waits where no node has the resources that it asks for: an autoscaler may add one.

    Raises:
        InvalidInput: Ray is not installed.
    """

    name = "ray"

    def __init__(self, address: str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self._ray = _import_ray()
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._started = False
        # Not asyncio's: that would belong to one event loop, and a backend may serve several, one after the other.
        self._starting = threading.Lock()
        self._left = threading.Event()
        """Set once the cluster that was started here has ended."""
        self._remote: Any = None
        self._nodes = ClusterNodes(self._ray.nodes, patience_s)
        self._agents: dict[str, tuple[Agent, Any]] = {}
        """Agents that lie in the cluster's store, by their ids."""

    async def run(self, agent_id: str, agent: Agent, task: Task, context: TaskContext) -> AgentResult:
        """Let an agent do a task on a worker. Cancelling this interrupts it there, and ends the worker if need be.

        Raises:
            WorkerLost: the worker's process or machine is gone.
            InvalidInput: the resources are none, or the agent or the task cannot be pickled.
            AgentFailed: no node of the cluster has these resources.
        """
        options = read_resources(task)
        if self._remote is None:
            await asyncio.to_thread(self._start)
        content = _pickled((task, replace(context, tell=None)), f"Task {task.task_id!r}")
        errors = self._ray.exceptions
        try:
            reference = self._submit(agent_id, agent, task, content, options)
            answer = await self._wait_for(reference, task, options)
        except errors.TaskCancelledError:
            raise AgentFailed("Its Ray task was cancelled by somebody else.") from None
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.ObjectLostError,
            errors.ObjectStoreFullError,
            errors.OutOfMemoryError,
            errors.OutOfDiskError,
            errors.LocalRayletDiedError,
            errors.RpcError,
        ) as error:
            # What lay in the store of a machine that is gone may be gone too: the agent is put there anew.
            self._agents.pop(agent_id, None)
            first = str(error).strip().partition("\n")[0]
            raise WorkerLost(f"The worker that ran {agent_id} is gone ({type(error).__name__}): {first}") from None
        except errors.RayError as error:
            raise AgentFailed(f"Ray could not run {agent_id}: {describe_error(error)}") from None
        return _unpacked(answer)

    async def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            self._started, self._remote = False, None
            self._agents.clear()
            await asyncio.to_thread(self._ray.shutdown)
            self._left.set()

    def _start(self) -> None:
        with self._starting:
            if self._remote is not None:
                return
            if not self._ray.is_initialized():
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                self._init()
                self._started = True
                # Ray tells of lost workers and nodes on stdout, whatever it is told of logs: that is the program's own,
                # and the errors say the same. There is no public switch.
                self._ray._private.worker._worker_logs_enabled = False
                if self._address is None:  # a cluster that was started here gets no other nodes than it has
                    self._nodes = ClusterNodes(self._ray.nodes, 0.0)
            self._remote = self._ray.remote(max_retries=0)(_work)

    def _init(self) -> None:
        """Start a cluster, or join one, on a thread of its own that stays until it is left.

        The processes of a cluster die with the thread that started them (Linux's PR_SET_PDEATHSIG means the thread),
        and take the program with them. A thread of an event loop's pool ends with that loop.
        """
        started: Future[None] = Future()

        def stay() -> None:
            try:
                self._ray.init(
                    address=self._address,
                    include_dashboard=None if self._address else False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                )
            except BaseException as error:  # it belongs to whoever asked for it
                started.set_exception(error)
                return
            started.set_result(None)
            self._left.wait()

        self._left.clear()
        threading.Thread(target=stay, daemon=True, name="kapelle-ray").start()
        started.result()

    def _submit(self, agent_id: str, agent: Agent, task: Task, content: bytes, options: dict[str, Any]) -> Any:
        kept = self._keep(agent_id, agent)
        try:
            return self._remote.options(**options).remote(kept, content)
        except ValueError as error:
            words = "".join(error.args) if all(isinstance(one, str) for one in error.args) else str(error)
            raise InvalidInput(f"Task {task.task_id!r}: Ray does not take its resources: {words}") from None

    async def _wait_for(self, reference: Any, task: Task, options: dict[str, Any]) -> bytes:
        """Wait for a task's end; not for ever where no node has what it asks for.

        Raises:
            AgentFailed: for so long there was no such node. It did not run, and costs nothing.
        """
        waiting: asyncio.Future[bytes] = asyncio.wrap_future(reference.future())
        try:
            while not (await asyncio.wait({waiting}, timeout=WATCH_S))[0]:
                lacking = await self._nodes.find_lacking(options)
                if lacking is not None and not waiting.done():
                    self._ray.cancel(reference, force=True)
                    raise AgentFailed(
                        f"No node of the Ray cluster has what task {task.task_id!r} asks for: {lacking}. Add a node "
                        "that has it, or ask for less (`resources` in the task's metadata).",
                        cost_usd=0.0,
                    )
        except asyncio.CancelledError:
            self._cancel(reference)
            raise
        finally:
            if not waiting.done():
                waiting.cancel()
        return waiting.result()

    def _keep(self, agent_id: str, agent: Agent) -> Any:
        """Put an agent into the cluster's store, once."""
        known = self._agents.get(agent_id)
        if known is None or known[0] is not agent:
            known = self._agents[agent_id] = (agent, self._ray.put(_pickled(agent, f"Agent {agent_id!r}")))
        return known[1]

    def _cancel(self, reference: Any) -> None:
        """Interrupt a task on its worker; end the worker if it does not heed that."""
        self._ray.cancel(reference, force=False)
        loop = asyncio.get_running_loop()
        loop.call_later(GRACE_S, self._end, reference)

    def _end(self, reference: Any) -> None:
        if not self._ray.is_initialized():
            return
        done, _ = self._ray.wait([reference], timeout=0)
        if not done:
            self._ray.cancel(reference, force=True)


def read_resources(task: Task) -> dict[str, Any]:
    """Return what a task needs of a machine, as options of a Ray task.

    Raises:
        InvalidInput: it is no mapping of names to amounts.
    """
    wanted = task.metadata.get("resources", {})
    if not isinstance(wanted, Mapping):
        raise InvalidInput(
            f"Task {task.task_id!r}: resources is {wanted!r:.80}; give amounts by name, such as {{num_gpus: 1}}."
        )
    options: dict[str, Any] = {}
    others: dict[str, float] = {}
    for name, amount in wanted.items():
        number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
        if not number or not math.isfinite(amount) or amount < 0:
            raise InvalidInput(f"Task {task.task_id!r}: resources has {name}={amount!r:.40}; give zero or more.")
        if name in ("num_gpus", "num_cpus"):
            options[name] = amount
        elif name == "memory_gb":
            options["memory"] = int(amount * _BYTES)
        else:
            others[name] = amount
    if others:
        options["resources"] = others
    return options


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InvalidInput(
            f"The backend 'ray' needs a library that is not there ({error}). Install it: pip install 'kapelle[ray]'"
        ) from error
    return ray


def _pickled(value: Any, what: str) -> bytes:
    from ray import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(value)  # type: ignore[no-untyped-call]  # Ray's
    except Exception as error:  # pickling runs code of the value's own classes
        raise InvalidInput(
            f"{what} cannot be sent to a worker: {describe_error(error)}. Keep what cannot be pickled (locks, "
            "connections, open files) out of it: make such things where they are used. Or run it with another backend."
        ) from error
    return data


def _work(agent: bytes, content: bytes) -> bytes:
    """Do a task, on the worker. Whatever happens is returned as bytes: Ray would wrap it, or fail to send it."""
    from ray import cloudpickle

    async def whole() -> Any:
        task, context = cloudpickle.loads(content)
        # Ray interrupts a thread that runs Python code; one that waits for the network would not notice.
        waking = asyncio.create_task(_stay_awake())
        try:
            return read_there(await cloudpickle.loads(agent).run(task, context), Patience())
        finally:
            waking.cancel()

    try:
        answer: tuple[str, Any] = ("result", asyncio.run(whole()))
    except (KeyboardInterrupt, asyncio.CancelledError):  # this is how Ray cancels
        raise
    except BaseException as error:
        answer = ("error", pack_error(error))
    try:
        packed: bytes = cloudpickle.dumps(answer)  # type: ignore[no-untyped-call]  # Ray's
        cloudpickle.loads(packed)
    except Exception as problem:
        text = f"What the agent returned cannot be sent back from its worker ({describe_error(problem)})."
        packed = cloudpickle.dumps(("error", pack_error(AgentFailed(text))))  # type: ignore[no-untyped-call]  # Ray's
    return packed


async def _stay_awake() -> None:
    while True:  # noqa: ASYNC110 - nothing is waited for but the time itself
        await asyncio.sleep(WAKE_S)


def _unpacked(answer: bytes) -> AgentResult:
    from ray import cloudpickle

    kind, value = cloudpickle.loads(answer)
    if kind == "error":
        raise unpack_error(value)
    result: AgentResult = value
    return hide_known_of(result)
