"""Commands in the sandbox: what each kind of walls keeps in, what bounds hold, and that nothing is left running.

Walls that this machine does not have are skipped with the reason; that there are some is not asked of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kapelle.errors import InvalidInput, RefusedQuery
from kapelle.tools import ALLOWED_UNPROTECTED, CommandLimits, CommandResult, Sandbox, Walls
from kapelle.tools.sandbox import control_groups, walls

LIMITS = CommandLimits(time_s=20, memory_bytes=300_000_000, processes=40, disk_bytes=20_000_000, output_bytes=4_000)


def run(
    command: str | list[str],
    place: Path,
    kept_in: Walls = ALLOWED_UNPROTECTED,
    limits: CommandLimits = LIMITS,
    **more: object,
) -> CommandResult:
    with Sandbox(walls=kept_in, command_limits=limits) as sandbox:
        return asyncio.run(sandbox.run_command(command, place, **more))  # type: ignore[arg-type]


def is_running(word: str) -> bool:
    """Whether a process has this word among its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
    return False


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_a_command_works_in_its_workspace(kept_in: Walls, place: Path) -> None:
    (place / "in.txt").write_text("3\n1\n2\n")
    result = run("sort in.txt > out.txt && pwd && cat out.txt | wc -l", place, kept_in)
    assert (result.exit_code, result.output.split()) == (0, [str(place), "3"])
    assert result.succeeded
    assert (place / "out.txt").read_text() == "1\n2\n3\n"


OUTSIDE = {
    "reads a file": "cat {outside}/secret",
    "writes a file": "echo x > {outside}/written",
    "follows a link that it makes": "ln -s {outside}/secret link && cat link",
    "writes through a link that it makes": "ln -s {outside} link && echo x > link/written",
    "makes a second name of a file": "ln {outside}/secret same && cat same",
    "climbs": "cat ../outside/secret",
    "empties a file": ": > {outside}/secret",
    "removes a file": "rm {outside}/secret",
    "renames a file into its workspace": "mv {outside}/secret here && cat here",
    "reads the passwords": "cat /etc/shadow",
    "reads its starter's environment": "cat /proc/{process}/environ",
}


@pytest.mark.parametrize("way", OUTSIDE)
def test_nothing_outside_of_the_workspace_is_read_or_changed(
    way: str, kept_in: Walls, tmp_path: Path, place: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("KEPT")
    result = run(OUTSIDE[way].format(outside=outside, process=os.getpid()), place, kept_in)
    assert "KEPT" not in result.output
    assert "PATH" not in result.output
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "KEPT"


FORBIDDEN = {
    "a namespace": "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))",
    "tracing": "import ctypes; print(ctypes.CDLL(None).ptrace(0, 0, 0, 0))",
    "a mount": "import ctypes; print(ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None))",
    "a key ring": "import ctypes; print(ctypes.CDLL(None).syscall(250, 0, 0))",
    "input for a terminal": "import ctypes; print(ctypes.CDLL(None).ioctl(0, 0x5412, b'x'))",
    "limits of others": "import ctypes; print(ctypes.CDLL(None).prlimit(1, 0, None, None))",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_kernel_refuses_what_programs_do_not_need(what: str, kept_in: Walls, place: Path) -> None:
    result = run([sys.executable, "-c", FORBIDDEN[what]], place, kept_in)
    assert result.output.strip() == "-1", result


def test_no_server_outside_can_be_reached(kept_in: Walls, place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        result = run(python(code), place, kept_in)
        allowed = run(python(code), place, kept_in, network=True)
    assert result.exit_code == 1
    assert "Error" in result.output
    assert allowed.succeeded, allowed


def test_its_starter_cannot_be_signalled(kept_in: Walls, place: Path) -> None:
    result = run(python(f"import os; os.kill({os.getppid()}, 0)"), place, kept_in)
    assert "Error" in result.output


def test_it_sees_no_variable_of_this_process(kept_in: Walls, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    result = run("env", place, kept_in, environ={"GIVEN": "yes"})
    assert "sk-secret" not in result.output
    assert "GIVEN=yes" in result.output


def test_nobody_can_answer_so_nothing_waits_for_an_answer(kept_in: Walls, place: Path) -> None:
    result = run("read name; echo \"got '$name'\"; cat /dev/tty; echo done", place, kept_in)
    assert "got ''" in result.output
    assert "done" in result.output
    assert result.seconds < LIMITS.time_s


BOUNDS = {
    "time": ("sleep 60", CommandLimits(time_s=0.3), "longer than 0.3 seconds"),
    "a loop": ("while :; do :; done", CommandLimits(time_s=0.3), "longer than 0.3 seconds"),
    "output without end": ("yes", CommandLimits(time_s=0.3), "longer than 0.3 seconds"),
    "disk": (
        "for i in 1 2 3 4; do head -c 9000000 /dev/zero > f$i; done; sleep 60",
        CommandLimits(time_s=20, disk_bytes=20_000_000),
        "grew over 20 MB",
    ),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_what_passes_a_limit_is_ended_and_says_which(what: str, kept_in: Walls, place: Path) -> None:
    command, limits, said = BOUNDS[what]
    result = run(command, place, kept_in, limits)
    assert said in result.stopped
    assert (result.exit_code, result.succeeded) == (137, False)


def test_memory_of_one_process_is_bounded(kept_in: Walls, place: Path) -> None:
    result = run(python("bytearray(10**9)"), place, kept_in)
    assert "MemoryError" in result.output


def test_memory_of_all_processes_together_is_bounded(kept_in: Walls, place: Path) -> None:
    one = f"{sys.executable} -S -c 'import time; x = bytearray(10**8); x[::4096] = x[::4096]; time.sleep(60)' &"
    result = run(f"{one} {one} {one} {one} wait", place, kept_in)
    assert "more than 300 MB of memory" in result.stopped


@pytest.mark.skipif(os.geteuid() == 0 and not control_groups.has_groups(), reason="root without control groups")
def test_a_bomb_of_forks_is_bounded(kept_in: Walls, place: Path) -> None:
    code = "import os, time\nfor n in range(200):\n    if os.fork() == 0: time.sleep(60)"
    result = run(python(code), place, kept_in)
    assert "BlockingIOError" in result.output or "processes at once" in result.stopped


def test_what_is_left_in_the_background_ends_with_the_command(kept_in: Walls, place: Path) -> None:
    with Sandbox(walls=kept_in, command_limits=LIMITS) as sandbox:
        work = sandbox.run_command("sleep 31415 & echo started", place)
        result = asyncio.run(work)
    assert (result.output, result.exit_code) == ("started\n", 0)
    assert not is_running("31415")


def test_cancelling_ends_all_of_its_processes(kept_in: Walls, place: Path) -> None:
    async def cancelled() -> None:
        with Sandbox(walls=kept_in) as sandbox:
            work = asyncio.create_task(sandbox.run_command("touch begun; sleep 27182 & sleep 27182", place))
            while not (place / "begun").exists():  # noqa: ASYNC110 -- only the file system tells
                await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert not is_running("27182")

    asyncio.run(cancelled())


def test_of_much_output_the_beginning_and_the_end_are_kept(kept_in: Walls, place: Path) -> None:
    result = run("echo first; seq 100000; echo last >&2", place, kept_in)
    assert result.output.startswith("first\n1\n")
    assert result.output.endswith("100000\nlast\n")
    assert f"[... {result.left_out_bytes:,} bytes left out ...]" in result.output
    assert len(result.output) < 5_000


def test_output_that_is_no_text_is_read_all_the_same(kept_in: Walls, place: Path) -> None:
    assert run(r"printf '\377\376ok'", place, kept_in).output == "\ufffd\ufffdok"


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("no-such-program", 127)])
def test_the_exit_code_is_the_commands_own(command: str, code: int, kept_in: Walls, place: Path) -> None:
    result = run(command, place, kept_in)
    assert (result.exit_code, result.stopped) == (code, "")


def test_a_workspace_that_was_too_large_before_may_be_cleaned(kept_in: Walls, place: Path) -> None:
    (place / "large").write_bytes(b"x" * 2_000_000)
    limits = CommandLimits(time_s=20, disk_bytes=1_000_000)
    assert run("rm large", place, kept_in, limits).succeeded


def test_an_odd_workspace_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        run("true", tmp_path / "missing")


@pytest.mark.parametrize("command", [[], "a\0b", ["true", "\0"]])
def test_an_odd_command_is_refused(command: str | list[str], place: Path) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        run(command, place)


def test_where_nothing_holds_commands_are_refused_unless_the_user_allows_them(place: Path) -> None:
    nothing = Walls(kind="none", reason="`bwrap` is not installed.")
    with pytest.raises(RefusedQuery, match="`bwrap` is not installed"):
        run("true", place, nothing)
    assert run("echo free", place, ALLOWED_UNPROTECTED).output == "free\n"


def test_walls_that_cannot_be_built_let_nothing_run(
    kept_in: Walls, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walls, "build_filter", lambda **_: b"no such program!")
    with pytest.raises(RefusedQuery, match="could not be built"):
        run("touch ran", place, kept_in)
    assert not (place / "ran").exists()


@pytest.fixture(autouse=True)
def no_group_is_left() -> Iterator[None]:
    yield
    for top, _ in control_groups._hierarchies():
        assert not list(top.glob(f"kapelle-{os.getpid()}-*"))
