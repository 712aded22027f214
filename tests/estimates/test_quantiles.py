from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.estimates.posterior import beta_quantiles
from kapelle.estimates.quantiles import beta_cdf, beta_quantile, expit, logit, student_quantile


@pytest.mark.parametrize(
    ("alpha", "beta", "x", "chance"),
    [
        (1, 1, 0.3, 0.3),  # uniform
        (3, 1, 0.5, 0.125),  # x^3
        (1, 4, 0.2, 1 - 0.8**4),
        (0.5, 0.5, 0.25, 1 / 3),  # arc sine: 2/pi asin(sqrt x)
        (2, 2, 0.5, 0.5),
        (5, 3, 0.6, 0.419904),  # the chance of 5 or more of 7 at 0.6
    ],
)
def test_the_beta_distribution_has_its_known_values(alpha: float, beta: float, x: float, chance: float) -> None:
    assert beta_cdf(alpha, beta, x) == pytest.approx(chance, abs=1e-10)
    assert beta_quantile(alpha, beta, chance) == pytest.approx(x, abs=1e-8)


@given(st.floats(0.2, 500), st.floats(0.2, 500), st.floats(0.02, 0.98))
def test_a_quantile_leaves_its_share_below(alpha: float, beta: float, q: float) -> None:
    assert beta_cdf(alpha, beta, beta_quantile(alpha, beta, q)) == pytest.approx(q, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 3000), st.floats(0, 3000)).filter(any), min_size=1, max_size=40),
    st.floats(0.02, 0.98),
)
def test_many_quantiles_are_each_the_one_that_is_found_alone(parameters: list[tuple[float, float]], q: float) -> None:
    alone = beta_quantiles(parameters, q)
    assert beta_quantiles(parameters * 100, q) == alone * 100


@pytest.mark.parametrize("rest", [0.0, 2.220446049250313e-16, 1e-9, 1e-5, 1e-3])
def test_a_belief_that_is_next_to_certain_has_its_quantile_at_that_end(rest: float) -> None:
    assert beta_quantile(3.0, rest, 0.1) == pytest.approx(1.0, abs=1e-6)
    assert beta_quantile(rest, 3.0, 0.1) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 6.313752), (2, 2.919986), (5, 2.015048), (30, 1.697261)])
def test_student_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert student_quantile(freedom, 0.95) == pytest.approx(quantile, abs=1e-5)


@given(st.floats(0.001, 0.999))
def test_log_odds_and_chances_are_each_others_inverse(chance: float) -> None:
    assert expit(logit(chance)) == pytest.approx(chance)
