"""The benchmark of overhead: what it lets every system do, and what becomes of a peer that cannot be installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.overhead import __main__ as overhead
from bench.overhead import environments, processes
from bench.overhead.environments import CannotInstall, folder_for, python_for
from bench.overhead.peers.work import layered, layers
from bench.overhead.processes import DidNotRun, FirstRun
from bench.overhead.systems import OURS, PEERS, System, choose_peers

SCRIPTS = Path(overhead.__file__).parent / "peers"


@given(st.integers(1, 700))
def test_every_task_waits_for_two_of_the_layer_before(size: int) -> None:
    graph = layered(size)
    layer_of = {name: number for number, layer in enumerate(layers(graph)) for name in layer}
    assert len(graph) == size == len(layer_of)
    for name, waits in graph.items():
        assert len(set(waits)) == (2 if layer_of[name] else 0)
        assert {layer_of[before] for before in waits} <= {layer_of[name] - 1}


def test_every_system_has_a_script_and_a_name_of_its_own() -> None:
    names = [system.name for system in (*OURS, *PEERS)]
    assert len(names) == len(set(names))
    for system in (*OURS, *PEERS):
        assert system.name.split("_")[-1] in (SCRIPTS / system.script).read_text(encoding="utf-8")
    assert all("==" in package for system in PEERS for package in system.packages)


def test_peers_are_chosen_by_name() -> None:
    assert choose_peers("all") == PEERS
    assert choose_peers("none") == ()
    assert [peer.name for peer in choose_peers("burr, dbos")] == ["burr", "dbos"]
    with pytest.raises(ValueError, match=r"There is no peer 'airflow'.*langgraph"):
        choose_peers("airflow")


def test_other_versions_have_another_environment(tmp_path: Path) -> None:
    assert folder_for(("burr==1", "x==2"), tmp_path) == folder_for(("burr==1", "x==2"), tmp_path)
    assert folder_for(("burr==1",), tmp_path) != folder_for(("burr==2",), tmp_path)
    assert python_for(()) == Path(sys.executable)


def test_an_environment_that_was_not_finished_is_made_anew_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder_for(("burr==1",), tmp_path)
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").touch()
    monkeypatch.setattr("venv.create", lambda where, with_pip: where.mkdir(parents=True))

    def fail(python: Path, packages: tuple[str, ...]) -> None:
        assert not python.exists()
        raise CannotInstall("no network")

    monkeypatch.setattr(environments, "_install", fail)
    with pytest.raises(CannotInstall, match="no network"):
        python_for(("burr==1",), tmp_path)
    assert not home.exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("raise SystemExit('it is Monday')", "it is Monday"),
        ("print('no figures')", "it told no figures: no figures"),
        ("", "it told no figures: it said nothing"),
    ],
)
def test_a_script_that_tells_nothing_says_why(
    script: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "peer.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(processes, "SCRIPTS", tmp_path)
    with pytest.raises(DidNotRun, match=f"^{why}$"):
        processes.measure_run(System(name="peer", script="peer.py"), Path(sys.executable), 5, 1, {})


def test_a_peer_that_cannot_be_installed_or_does_not_run_is_said_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(packages: tuple[str, ...]) -> Path:
        if packages == ("gone==1",):
            raise CannotInstall("no network")
        return Path(sys.executable)

    def run(system: System, *_: Any) -> dict[str, Any]:
        if system.name == "broken":
            raise DidNotRun("it fell over")
        return {"ms": 1.0, "build_ms": 2.0, "journal": "none", "versions": {}}

    peers = tuple(
        System(name=name, script="x.py", packages=(f"{name}==1",), most_tasks=5) for name in ("gone", "broken", "slow")
    )
    monkeypatch.setattr(overhead, "OURS", (System(name="asyncio", script="plain_asyncio.py"),))
    monkeypatch.setattr(overhead, "python_for", install)
    monkeypatch.setattr(overhead, "measure_run", run)
    monkeypatch.setattr(overhead, "measure_first", lambda *_, **__: FirstRun(ms=3.0, mb=4.0))
    found = overhead.measure([5, 9], 1, peers, postgres=False)
    assert found["left_out"] == [
        "gone: no network",
        "broken: it fell over",
        "slow at 9: more than 5 tasks take it too long",
    ]
    assert found["ms"] == {"asyncio": {"5": 1.0, "9": 1.0}, "slow": {"5": 1.0}}
    assert found["first_ms"]["kapelle_learned"] == 3.0
