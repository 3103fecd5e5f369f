"""Texts as wide as a terminal shows them."""

import pytest

from router.cli.table import grid
from router.cli.width import left, right, width


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("search", 6),
        ("搜索组", 6),
        ("ｗｅｂ", 6),
        ("ﾊ", 1),
        ("é", 1),
        ("e\u0301", 1),
        ("a\u200bb", 2),
    ],
)
def test_a_text_is_as_wide_as_its_signs(text, columns):
    assert width(text) == columns
    assert left(text, 8) == text + " " * (8 - columns)
    assert right(text, 8) == " " * (8 - columns) + text


def test_the_columns_of_a_table_stand_below_each_other_in_every_script():
    rows = [("search", "1.00", "x"), ("搜索组", "22.00", "y"), ("e\u0301quipe", "3.00", "z")]
    lines = grid(("team", "usd", "why"), rows, {"team", "why"}).splitlines()
    assert [
        width(line[: line.rindex(sign)]) for line, sign in zip(lines[2:], "xyz", strict=True)
    ] == [width("team    ") + 7] * 3
    assert lines[1] == "------  -----  ---"
