"""What an option's number may be is told with its range and form."""

import click
import pytest

from router.cli.errors import Ends
from router.cli.ledger.options import zone
from router.cli.options import Number, Share, Version


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        (Share(), "85%", "(valid: a number from 0 to 1: 0.3, not 30%)"),
        (Share(min_open=True), "2", "(valid: a number above 0 to 1: 0.3, not 30%)"),
        (Number(0, 100), "100%", "(valid: a number from 0 to 100, without a unit)"),
        (Number(0, max_open=True), "-1", "(valid: a number from 0, without a unit)"),
        (Version(), "v1", "'v1' is no version (valid: its number alone, from 0: 1, not v1)"),
        (Version(), "-1", "'-1' is no version"),
    ],
)
def test_a_number_that_cant_be_read_is_told_with_its_range_and_form(form, text, said):
    with pytest.raises(click.BadParameter) as caught:
        form.convert(text, None, None)
    assert said in caught.value.message


@pytest.mark.parametrize("abbreviation", ["CST", "BJT", "cst", "UTC+8"])
def test_an_abbreviation_is_no_reason_to_guess_a_zone(abbreviation):
    with pytest.raises(Ends) as caught:
        zone(abbreviation)
    assert str(caught.value.message).endswith("(valid: a name such as Asia/Shanghai)")


def test_a_mistyped_zone_is_told_with_the_near_one_and_its_full_width_sign():
    with pytest.raises(Ends, match="did you mean `Asia/Shanghai`"):
        zone("Asia/Shangai")
    with pytest.raises(Ends, match="`／` is a full-width sign: write `/`; did you mean `Asia/Shan"):
        zone("Asia／Shanghai")
