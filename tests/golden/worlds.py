"""The stories of the first hundred simulated worlds: see bench.simulate. Starts, events and money, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.simulate.play import History, Item, play
from bench.simulate.world import draw_world

from .story import Story, digest, plain, show, tell_event, tell_fields, tell_outcomes, tell_run

SEEDS = range(100)


def tell_worlds(seeds: range = SEEDS) -> dict[str, Story]:
    """Play the worlds of these seeds, and return their stories."""
    return {f"seed {seed}": list(_tell(play(draw_world(seed)))) for seed in seeds}


def _tell(history: History) -> Iterator[str]:
    begun = [item for item in history.items if item.kind == "begin"]
    yield "starts " + " ".join(f"{item.task}/{item.agent}" for item in begun)
    for item in _in_order(history.items):
        match item.kind:
            case "event":
                data = item.data["data"]
                yield f"{item.at:.6g} s{item.session} {tell_event(item.data['kind'], item.task, data)}"
            case "begin":
                key = str(item.data["key"]).partition("/")[2]
                yield f"{item.at:.6g} s{item.session} begins {key} {item.agent}{_seen(item.data)}"
            case "end":
                pass  # the event that follows tells it
            case "cancelled":
                yield f"{item.at:.6g} s{item.session} cancelled {item.task} {item.agent}"
            case _:
                yield f"{item.at:.6g} s{item.session} {' '.join([item.kind, *tell_fields(item.data)])}"
    if history.run is not None:
        yield from tell_run(history.run)
    yield tell_outcomes(history.outcomes)
    yield f"complaints {show(plain(history.complaints))}"


def _in_order(items: Sequence[Item]) -> Iterator[Item]:
    """Yield what happened; of agents that are cancelled together, nobody says which hears of it first."""
    together: list[Item] = []
    for item in items:
        if item.kind == "cancelled":
            together.append(item)
            continue
        yield from sorted(together, key=lambda one: (one.at, one.call))
        together.clear()
        yield item
    yield from sorted(together, key=lambda one: (one.at, one.call))


def _seen(data: Mapping[str, object]) -> str:
    seen = {name: data[name] for name in ("upstream", "missing", "answers", "inputs") if data[name]}
    return f" #{digest(seen)}" if seen else ""
