import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import AgentFailed, InvalidInput, KapelleError, RefusedQuery
from kapelle.tools import Sandbox, SandboxLimits
from tests.scale import scaled


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(time_s=0.3, memory_bytes=20_000_000, output_bytes=5_000)) as one:
        yield one


def test_the_value_of_the_last_expression_and_what_was_printed_come_back(sandbox: Sandbox) -> None:
    result = sandbox.run_program("print('hello')\ntotal = sum(numbers)\ntotal * 2", {"numbers": [1, 2, 3]})
    assert (result.value, result.printed) == (12, "hello\n")


def test_values_come_back_as_plain_json(sandbox: Sandbox) -> None:
    value = sandbox.run_program(
        "import datetime\n{1: (2, 3), 'd': datetime.date(2024, 5, 1), 'f': float('inf'), 's': {2, 1}}"
    ).value
    assert value == {"1": [2, 3], "d": "2024-05-01", "f": "inf", "s": [1, 2]}
    json.dumps(value, allow_nan=False)


def test_programs_do_not_see_each_other(sandbox: Sandbox) -> None:
    sandbox.run_program("secret = 1")
    with pytest.raises(AgentFailed, match="secret"):
        sandbox.run_program("secret")


ATTACKS = {
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('/tmp/planted', 'w').write('x')",
    "read through pathlib": "from pathlib import Path\nPath('/etc/passwd').read_text()",
    "list a folder": "import os\nos.listdir('/')",
    "look at the environment": "import os\nos.environ['HOME']",
    "ask for a variable": "import os\nos.getenv('PATH')",
    "start a process": "import subprocess\nsubprocess.run(['id'])",
    "open a socket": "import socket\nsocket.socket()",
    "load a page": "import urllib.request",
    "loop for ever": "while True: pass",
    "loop for ever and catch the end": "try:\n    while True: pass\nexcept BaseException:\n    'caught'",
    "fill the memory at once": "'a' * 10 ** 10",
    "fill the memory slowly": "x = []\nwhile True: x.append('a' * 1000)",
    "make a giant number": "10 ** 10 ** 8",
    "recurse for ever": "def f(): return f()\nf()",
    "print without end": "while True: print('x' * 1000)",
    "sleep": "import time\ntime.sleep(100)",
    "return a number of many digits": "2 ** 100000",
}


@pytest.mark.parametrize("code", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_a_program_may_not_have_is_refused(sandbox: Sandbox, code: str) -> None:
    with pytest.raises(RefusedQuery):
        sandbox.run_program(code)
    assert sandbox.run_program("1 + 1").value == 2


ESCAPES = {
    "bases": "().__class__.__bases__[0].__subclasses__()",
    "mro": "[].__class__.__mro__",
    "format": "'{0.__class__}'.format(1)",
    "import by name": "__import__('os').system('id')",
    "builtins": "__builtins__",
    "globals": "globals()",
    "system": "import os\nos.system('id')",
    "eval": 'eval(\'__import__("os").system("id")\')',
    "exec": "exec('import os; os.system(\"id\")')",
    "compile": "compile('1', 'x', 'exec')",
    "function globals": "def f(): pass\nf.__globals__",
    "frames": "import sys\nsys._getframe()",
    "exit": "raise SystemExit",
    "input": "input()",
}


@pytest.mark.parametrize("code", ESCAPES.values(), ids=ESCAPES.keys())
def test_no_trick_leads_out_of_the_sandbox(sandbox: Sandbox, code: str) -> None:
    with pytest.raises((AgentFailed, RefusedQuery)):
        sandbox.run_program(code)
    assert sandbox.run_program("1 + 1").value == 2


def test_a_failing_program_is_told_its_line(sandbox: Sandbox) -> None:
    with pytest.raises(AgentFailed, match=r"line 2, `return 1 / 0`: ZeroDivisionError"):
        sandbox.run_program("def f():\n    return 1 / 0\nf()")
    with pytest.raises(AgentFailed, match="SyntaxError"):
        sandbox.run_program("x = (")


def test_inputs_must_be_plain(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidInput):
        sandbox.run_program("x", {"x": object()})
    with pytest.raises((InvalidInput, AgentFailed)):
        sandbox.run_program("1", {"no name": 1})


def test_threads_share_the_pool(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(20) as threads:
        values = list(threads.map(lambda n: sandbox.run_program("n * n", {"n": n}).value, range(60)))
    assert values == [n * n for n in range(60)]


def test_no_text_does_anything_but_run_or_be_refused(sandbox: Sandbox) -> None:
    @settings(max_examples=scaled(60, least=15), deadline=None)
    @given(st.text(max_size=60))
    def run(code: str) -> None:
        with contextlib.suppress(KapelleError):
            sandbox.run_program(code)

    run()


def test_a_closed_sandbox_starts_again() -> None:
    sandbox = Sandbox()
    sandbox.close()
    assert sandbox.run_program("1").value == 1
    sandbox.close()
    assert sandbox.run_program("2").value == 2
    sandbox.close()


def test_an_interpreter_that_never_closes_its_sandbox_ends_cleanly() -> None:
    code = "from kapelle.tools import Sandbox\ns = Sandbox()\nprint(s.run_program('6 * 7').value)\n"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
