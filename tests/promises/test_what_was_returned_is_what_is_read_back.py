"""Guarantees: "What was returned is what is read back": run, events, what watchers and dependents were given."""

from __future__ import annotations

import pytest

from .mending import params
from .ways import GRAPH, Way, play


@pytest.mark.parametrize("way", params("returned is read back"))
def test_what_was_returned_is_what_is_read_back(way: Way) -> None:
    played = play(way)
    assert played.run is not None
    assert played.read_back is not None
    assert played.read_back == played.run
    assert played.read_back.events == played.run.events
    assert [(event.seq, event.kind, event.data) for event in played.heard] == [
        (event.seq, event.kind, event.data) for event in played.run.events
    ]
    results = played.run.results
    for name, after in GRAPH:
        if name in results and after:
            assert results[name] == f"{name} done after {results[after[0]]}"
