from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.estimates.features import DIMENSIONS, FORM, HEAD, TAIL, TextFeatures, form_of, shorten

SUMS = [f"What is {a} plus {a * 7}? Show each step." for a in range(30)]
TALES = [f"Tell a tale of the {color} fox and the sleeping river." for color in ("red", "old", "sly", "wet")] * 8


@pytest.mark.slow
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_has_finite_numbers_and_always_as_many(text: str, context: str) -> None:
    assert np.isfinite(form_of(text, context)).all()
    assert len(form_of(text, context)) == len(form_of("", ""))


@given(st.text(max_size=200))
def test_a_text_that_was_never_seen_has_finite_numbers(text: str) -> None:
    assert np.isfinite(TextFeatures.fit(SUMS[:4]).describe([text, ""])).all()


def test_texts_of_one_kind_stand_nearer_to_each_other_than_to_another_kind() -> None:
    placed = TextFeatures.fit([*SUMS, *TALES]).describe([SUMS[3], SUMS[20], TALES[1]])[:, 14:]
    same, other = placed[0] @ placed[1], placed[0] @ placed[2]
    assert same > other + 0.2


def test_a_text_is_described_alike_alone_and_among_others() -> None:
    features = TextFeatures.fit(SUMS)
    assert np.array_equal(features.describe(SUMS)[7], features.describe([SUMS[7]])[0])


def test_the_same_seed_describes_alike_and_what_was_saved_too() -> None:
    features = TextFeatures.fit([*SUMS, *TALES], seed=3)
    again = TextFeatures.fit([*SUMS, *TALES], seed=3)
    restored = TextFeatures.from_arrays(features.to_arrays())
    assert np.array_equal(features.describe(TALES), again.describe(TALES))
    assert np.array_equal(features.describe(TALES), restored.describe(TALES))


@pytest.mark.slow
def test_hashes_do_not_depend_on_the_process() -> None:
    code = "from kapelle.estimates.features import *; print(hash_words('one two two').tolist())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
    assert seen.pop().startswith("[")


def test_of_a_long_text_the_beginning_and_the_end_are_read_and_all_letters_counted() -> None:
    long = "start " + "x" * 3 * (HEAD + TAIL) + " end"
    assert shorten(long).startswith("start")
    assert shorten(long).endswith(" end")
    assert len(shorten(long)) == HEAD + TAIL + 1
    assert form_of(long)[0] > form_of(shorten(long))[0]


def test_an_embedding_stands_beside_the_rest_and_what_is_not_finite_in_it_becomes_zero() -> None:
    features = TextFeatures.fit(
        SUMS, embed=lambda texts: [(SUMS.index(text) % 2 * -2.0, float("nan")) for text in texts]
    )
    assert features.describe(SUMS[:2])[:, -2:].tolist() == [[1.0, 0.0], [-1.0, 0.0]]


def test_each_block_has_the_same_weight_and_each_number_its_name() -> None:
    features = TextFeatures.fit([*SUMS, *TALES], ["", '{"a": {}}'] * 31)
    rows = features.describe([*SUMS, *TALES], ["", '{"a": {}}'] * 31)
    assert len(features.names) == rows.shape[1] == len(FORM) + DIMENSIONS
    for block in (rows[:, : len(FORM)], rows[:, len(FORM) :]):
        assert np.abs(block.mean(axis=0)).max() < 1e-6
        assert (block**2).sum(axis=1).mean() == pytest.approx(1.0)


def test_what_was_the_same_for_all_says_nothing_of_a_text_that_differs() -> None:
    features = TextFeatures.fit(SUMS)
    plain, with_context = features.describe([SUMS[0]] * 2, ["", "a long schema {}" * 1000])
    assert np.abs(plain - with_context).max() < 1e-6
