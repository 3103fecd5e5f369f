"""How many labels prove a share: Wilson's interval, held against what it is defined by."""

from math import sqrt
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.proof import enough, wilson_low, z_of

shares = st.sampled_from([0.0, 0.1, 0.5, 0.84, 0.85, 0.86, 0.9, 0.99, 1.0])
floors = st.sampled_from([0.0, 0.1, 0.5, 0.85, 0.99])
counts = st.sampled_from([1, 2, 15, 16, 100, 3000])
confidences = st.sampled_from([0.5, 0.8, 0.95, 0.999])


@given(st.floats(0.5, 0.9999))
def test_z_is_the_quantile_of_the_normal_distribution(confidence):
    assert z_of(confidence) == pytest.approx(NormalDist().inv_cdf(confidence), abs=1e-6)


@given(shares, counts, confidences)
def test_the_lower_end_is_the_share_that_lies_z_deviations_of_its_own_below(share, count, sure):
    z = z_of(sure)
    low = wilson_low(share, count, z)
    assert 0 <= low <= share + 1e-12
    assert share - low == pytest.approx(z * sqrt(low * (1 - low) / count), abs=1e-9)


def test_no_labels_prove_nothing():
    assert wilson_low(1.0, 0, z_of(0.95)) == 0.0


@given(shares, floors, confidences)
def test_as_many_labels_as_are_said_to_do_do_and_a_tenth_fewer_do_not(share, at_least, sure):
    z = z_of(sure)
    needed = enough(share, at_least, z)
    if needed is None:
        assert share <= at_least
        assert wilson_low(share, 10**9, z) <= at_least
    else:
        assert wilson_low(share, needed, z) >= at_least - 1e-9
        if needed > 10:
            assert wilson_low(share, needed * 0.9, z) < at_least


def test_sixteen_good_answers_prove_what_the_contract_asks_for():
    assert enough(1.0, 0.85, z_of(0.95)) == 16
