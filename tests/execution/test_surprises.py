"""What a run takes for a surprise, and how much of an agent it then expects."""

import pytest

from kapelle.estimates import Estimate
from kapelle.execution.surprises import Surprises, Took

EXPECTED = Estimate(
    cost_usd=0.01, cost_low_usd=0.005, cost_high_usd=0.02, seconds=1, seconds_low=0.5, seconds_high=2,
    success_rate=0.9, tokens=0, samples=9, source="learned",
)  # fmt: skip


def took(number: int, usd: float, agent: str = "a", seconds: float = 1.0) -> Took:
    return Took(task_id=f"t{number}", agent=agent, task_type="work", expected=EXPECTED, units=(1.0, 1.0),
                cost_usd=usd, seconds=seconds)  # fmt: skip


@pytest.mark.parametrize("place", [0, 10, 20])
def test_one_odd_bill_among_many_raises_what_is_expected_by_its_part(place: int) -> None:
    surprises = Surprises(heeds_time=True)
    for number in range(21):
        surprises.note(took(number, 0.05 if number == place else 0.01, seconds=8.0 if number == place else 1.0))
    seen = surprises.seen["a", "work"]
    assert seen.cost_usd == pytest.approx((20 * 0.01 + 0.05) / 21)
    assert seen.seconds == pytest.approx((20 * 1.0 + 8.0) / 21)


def test_of_who_took_what_was_expected_nothing_is_held_up() -> None:
    surprises = Surprises(heeds_time=True)
    for number in range(20):
        surprises.note(took(number, 0.012, agent="other"))
    surprises.note(took(20, 0.3))
    assert set(surprises.seen) == {("a", "work")}
    assert surprises.seen["a", "work"].cost_usd == pytest.approx(0.3)
    assert len(surprises.take()) == 1
