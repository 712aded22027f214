"""Where agents run: what every backend keeps to, on real threads and real Ray workers."""

# ruff: noqa: ASYNC240, ASYNC251 - agents that block are what this is about

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG, agent
from kapelle.agents import AgentResult, TaskContext
from kapelle.errors import AgentFailed, InvalidInput, WorkerLost
from kapelle.execution import Backend, ThreadsBackend, make_backend
from kapelle.execution.backends.ray_backend import read_resources
from kapelle.execution.error_reports import describe_error
from kapelle.execution.results import read_given

TASK = Task(task_id="a", task_type="work")
CONTEXT = TaskContext(run_id="r", request="test")
MARK: ContextVar[str] = ContextVar("MARK", default="none")

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")


class Odd(Exception):
    """An error of the user's own."""


class Unsendable(Exception):
    """An error that is pickled and cannot be read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Unsayable(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Stuck(TaskDAG):
    """A graph that cannot be pickled, for a reason that cannot be shown."""

    def __reduce__(self) -> str:
        raise Unsayable


class Worker:
    """Does what its task's inputs say."""

    async def run(self, task: Task, context: TaskContext) -> AgentResult:
        do, value = task.inputs.get("do"), task.inputs.get("value")
        if do == "block":
            time.sleep(float(str(value)))
        elif do == "wait":
            Path(f"{value}.begun").touch()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                Path(str(value)).touch()
                raise
        elif do == "odd":
            raise Odd("mine")
        elif do == "unsendable":
            raise Unsendable("one", "two")
        elif do == "exit":
            raise SystemExit(3)
        elif do == "die":
            os._exit(1)
        elif do == "die once" and not Path(str(value)).exists():
            Path(str(value)).touch()
            os._exit(1)
        elif do == "lock":
            return AgentResult(output=threading.Lock(), cost_usd=0.5)
        elif do == "generator":
            return AgentResult(output=(number for number in range(3)))
        elif do == "unsayable":
            raise Unsayable
        elif do == "stuck":
            return AgentResult(output=None, expansion=Stuck([TASK]))
        elif do == "tell" and context.tell is not None:
            context.tell("Guten Tag")
        return AgentResult(output={"mark": MARK.get(), "pid": os.getpid(), "thread": threading.get_ident()})


def told(do: str, value: Any = None) -> Task:
    return replace(TASK, inputs={"do": do} if value is None else {"do": do, "value": value})


async def do(backend: Backend, task: Task, context: TaskContext = CONTEXT) -> AgentResult:
    return await backend.run("worker", Worker(), task, context)


async def cancel_when_under_way(backend: Backend, mark: Path) -> None:
    doing = asyncio.create_task(do(backend, told("wait", str(mark))))
    assert await appears(Path(f"{mark}.begun"))
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing


async def appears(path: Path) -> bool:
    for _ in range(600):
        if path.exists():
            return True
        await asyncio.sleep(0.05)
    return False


def test_backends_are_found_by_their_names() -> None:
    assert [make_backend(name).name for name in ("asyncio", "threads")] == ["asyncio", "threads"]
    with pytest.raises(InvalidInput, match=r"There is no backend 'magic'\. Use one of: asyncio, threads, ray"):
        make_backend("magic")


def test_an_agent_that_blocks_its_thread_holds_up_nobody() -> None:
    async def both() -> list[str]:
        backend, order = ThreadsBackend(), []

        async def one(name: str, task: Task) -> None:
            await do(backend, task)
            order.append(name)

        await asyncio.gather(one("slow", told("block", 0.3)), one("quick", told("block", 0.0)))
        return order

    assert asyncio.run(both()) == ["quick", "slow"]


def test_a_thread_sees_the_context_and_tells_in_the_callers_loop() -> None:
    heard: list[tuple[str, int]] = []

    async def whole() -> AgentResult:
        MARK.set("seen")
        context = replace(CONTEXT, tell=lambda text: heard.append((text, threading.get_ident())))
        result = await do(ThreadsBackend(), told("tell"), context)
        await asyncio.sleep(0)
        return result

    output = asyncio.run(whole()).output
    assert (output["mark"], output["thread"] != threading.get_ident()) == ("seen", True)
    assert heard == [("Guten Tag", threading.get_ident())]


def test_cancelling_reaches_an_agent_on_its_thread(tmp_path: Path) -> None:
    async def whole() -> bool:
        await cancel_when_under_way(ThreadsBackend(), tmp_path / "x")
        return await appears(tmp_path / "x")

    assert asyncio.run(whole())


@pytest.mark.parametrize(("what", "error"), [("odd", Odd), ("exit", SystemExit)])
def test_what_an_agent_raises_on_its_thread_reaches_the_caller(what: str, error: type[BaseException]) -> None:
    async def whole() -> BaseException | None:
        try:
            await do(ThreadsBackend(), told(what))
        except BaseException as problem:
            return problem
        return None

    assert isinstance(asyncio.run(whole()), error)


def test_runs_go_through_threads_as_through_the_loop() -> None:
    @agent(task_types=["work"], cost_usd=0.0)
    async def blocking(task: Task) -> int:
        time.sleep(0.01)
        return threading.get_ident()

    engine = Engine([blocking], model="none", ledger=SqliteLedger(), backend="threads")
    run = asyncio.run(engine.run(Plan(request="t", graph=TaskDAG([TASK]), planner="t")))
    assert (run.state, run.results["a"] != threading.get_ident()) == ("done", True)


@pytest.mark.parametrize("wrong", [3, {"num_gpus": "all"}, {"num_gpus": -1}, {"num_cpus": True}])
def test_resources_that_are_none_are_named(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="Task 'a': resources"):
        read_resources(replace(TASK, metadata={"resources": wrong}))


def test_resources_become_options_of_a_ray_task() -> None:
    task = replace(TASK, metadata={"resources": {"num_gpus": 0.5, "memory_gb": 2, "tpu": 1}})
    assert read_resources(task) == {"num_gpus": 0.5, "memory": 2 * 2**30, "resources": {"tpu": 1}}
    assert read_resources(TASK) == {}


def _ray_error(name: str) -> BaseException:
    """Return an error of Ray's as it is raised where a task's result is waited for."""
    from ray import exceptions

    kind = getattr(exceptions, name)
    if issubclass(kind, exceptions.ObjectLostError):
        error: BaseException = kind("00" * 28, None, "")
    elif name == "RpcError":
        error = kind("connection lost", 14)
    else:
        error = kind() if name in ("WorkerCrashedError", "LocalRayletDiedError", "TaskCancelledError") else kind("gone")
    return error


@needs_ray
@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        *dict.fromkeys(
            (
                "WorkerCrashedError",
                "NodeDiedError",
                "LocalRayletDiedError",
                "ObjectLostError",
                "OwnerDiedError",
                "ObjectReconstructionFailedError",
                "ObjectFetchTimedOutError",
                "ObjectStoreFullError",
                "OutOfMemoryError",
                "OutOfDiskError",
                "RpcError",
            ),
            WorkerLost,
        ).items(),
        *dict.fromkeys(
            ("TaskCancelledError", "RuntimeEnvSetupError", "RaySystemError", "TaskUnschedulableError"), AgentFailed
        ).items(),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_error_of_rays_own_never_reaches_the_executor(
    name: str, becomes: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import Future

    from kapelle.execution.backends.ray_backend import RayBackend

    class Lost:
        """In the place of Ray's function, and of what it returns."""

        def options(self, **_: Any) -> Lost:
            return self

        def remote(self, kept: Any, content: bytes) -> Lost:
            return self

        def future(self) -> Future[bytes]:
            found: Future[bytes] = Future()
            found.set_exception(_ray_error(name))
            return found

    backend = RayBackend()
    puts: list[bytes] = []

    def put(value: bytes) -> str:
        puts.append(value)
        return "reference"

    monkeypatch.setattr(backend, "_remote", Lost())
    monkeypatch.setattr(backend._ray, "put", put)
    worker = Worker()
    for _ in range(2):
        with pytest.raises(becomes):
            asyncio.run(backend.run("worker", worker, TASK, CONTEXT))
    # Where a machine is gone, the agent that lay on it may be: it is put into the store anew.
    assert len(puts) == (2 if becomes is WorkerLost else 1)


@pytest.fixture(scope="module")
def ray_loop() -> Iterator[tuple[asyncio.Runner, Backend]]:
    """A backend on a cluster of its own, and the loop that it lives in."""
    with warnings.catch_warnings(), asyncio.Runner() as runner:
        warnings.simplefilter("ignore")  # Ray leaves sockets and files to the garbage collector
        backend = make_backend("ray")
        yield runner, backend
        runner.run(backend.close())


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
class TestRay:
    """On real workers of a real cluster."""

    @pytest.mark.slow
    def test_a_task_runs_in_another_process(self, ray_loop: tuple[asyncio.Runner, Backend]) -> None:
        runner, backend = ray_loop
        assert runner.run(do(backend, TASK)).output["pid"] != os.getpid()

    def test_a_worker_that_dies_is_a_lost_worker(self, ray_loop: tuple[asyncio.Runner, Backend]) -> None:
        runner, backend = ray_loop
        with pytest.raises(WorkerLost, match="The worker that ran worker is gone"):
            runner.run(do(backend, told("die")))

    def test_the_executor_makes_a_lost_task_again(
        self, ray_loop: tuple[asyncio.Runner, Backend], tmp_path: Path
    ) -> None:
        runner, backend = ray_loop
        worker = Worker()

        @agent(task_types=["work"], cost_usd=0.01)
        async def remote(task: Task, context: TaskContext) -> AgentResult:
            return await worker.run(task, context)

        engine = Engine([remote], model="none", ledger=SqliteLedger(), backend=backend)
        graph = TaskDAG([told("die once", str(tmp_path / "died"))])
        run = runner.run(engine.run(Plan(request="t", graph=graph, planner="t"), budget_usd=1.0))
        assert (run.state, [one.state for one in run.tasks["a"].attempts]) == ("done", ["failed", "done"])

    def test_errors_come_back_as_they_are_or_with_their_words(self, ray_loop: tuple[asyncio.Runner, Backend]) -> None:
        runner, backend = ray_loop
        with pytest.raises(Odd, match="mine"):
            runner.run(do(backend, told("odd")))
        with pytest.raises(Unsendable, match="one") as caught:
            runner.run(do(backend, told("unsendable")))
        assert 'raise Unsendable("one", "two")' in str(caught.value.__cause__)

    def test_what_an_agent_gives_is_read_on_its_worker(self, ray_loop: tuple[asyncio.Runner, Backend]) -> None:
        runner, backend = ray_loop
        found, reason = read_given(runner.run(do(backend, told("lock"))))
        assert (found and found.cost_usd) == 0.5
        assert "lock, which has no plain form" in (reason or "")
        found, reason = read_given(runner.run(do(backend, told("generator"))))
        assert (found and found.output, reason) == ([0, 1, 2], None)

    def test_an_error_that_cannot_be_shown_or_sent_is_told_all_the_same(
        self, ray_loop: tuple[asyncio.Runner, Backend]
    ) -> None:
        runner, backend = ray_loop
        with pytest.raises(Unsayable) as caught:
            runner.run(do(backend, told("unsayable")))
        assert describe_error(caught.value) == "Unsayable, which cannot be shown"
        with pytest.raises(AgentFailed, match=r"sent back from its worker \(Unsayable, which cannot be shown\)"):
            runner.run(do(backend, told("stuck")))

    def test_an_agent_that_cannot_be_sent_is_named(self, ray_loop: tuple[asyncio.Runner, Backend]) -> None:
        runner, backend = ray_loop
        unsendable = Worker()
        unsendable.lock = threading.Lock()  # type: ignore[attr-defined]  # that is the fault
        with pytest.raises(InvalidInput, match="Agent 'locked' cannot be sent to a worker"):
            runner.run(backend.run("locked", unsendable, TASK, CONTEXT))

    def test_what_no_node_has_is_named_instead_of_waited_for(self, ray_loop: tuple[asyncio.Runner, Backend]) -> None:
        runner, backend = ray_loop
        greedy = replace(TASK, metadata={"resources": {"num_gpus": 64, "warp": 1}})
        with pytest.raises(
            AgentFailed, match=r"No node .* 'a' asks for: 64 GPU .*, 1 warp .* that one has: 0"
        ) as caught:
            runner.run(do(backend, greedy))
        assert caught.value.cost_usd == 0.0
        with pytest.raises(InvalidInput, match="Task 'a': Ray does not take its resources"):
            runner.run(do(backend, replace(TASK, metadata={"resources": {"num_gpus": 1.5}})))

    def test_cancelling_reaches_the_worker(self, ray_loop: tuple[asyncio.Runner, Backend], tmp_path: Path) -> None:
        runner, backend = ray_loop
        mark = tmp_path / "cancelled"

        async def whole() -> bool:
            await cancel_when_under_way(backend, mark)
            return await appears(mark)

        assert runner.run(whole())


AGAIN_AND_AGAIN = """
import asyncio
from kapelle import Engine, Plan, SqliteLedger, Task, TaskDAG, agent

@agent(task_types=["work"], cost_usd=0.0)
async def work(task):
    return 1

plan = Plan(request="x", graph=TaskDAG([Task(task_id="a", task_type="work")]), planner="me")
for _ in range(2):
    engine = Engine([work], model="none", ledger=SqliteLedger(":memory:"), backend="ray")
    print(asyncio.run(engine.run(plan)).state, flush=True)
"""


@pytest.mark.slow
@needs_ray
def test_a_cluster_outlives_the_event_loop_that_started_it() -> None:
    """Its processes ended with a thread of that loop, and took the program with them, without a word."""
    done = subprocess.run([sys.executable, "-c", AGAIN_AND_AGAIN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["done", "done"]), done.stderr[-2000:]
