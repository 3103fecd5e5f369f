"""The short names of our sources are explained where they are printed."""

import re
from importlib import resources

from router.cli.cited import SOURCES, legend


def test_only_what_is_named_is_explained():
    assert legend(["a (S3)", "S1 x 16", "S1"]).splitlines() == [
        f"S1 = {SOURCES['S1']}",
        f"S3 = {SOURCES['S3']}",
    ]
    assert legend(["AWS S3x, S9, RS1"], prices=True) == ""


def test_where_prices_are_shown_their_dates_are_explained():
    assert "earliest month" in legend(["S2"], prices=True)
    assert "earliest month" not in legend(["S2"])


def test_every_source_of_the_packaged_data_has_an_explanation():
    data = resources.files("backends").joinpath("data")
    texts = [entry.read_text("utf-8") for entry in data.iterdir() if entry.name.endswith(".yaml")]
    texts += [entry.read_text("utf-8") for entry in data.joinpath("profiles").iterdir()]
    named = {name for text in texts for name in re.findall(r"\bS[0-9]\b", text)}
    assert named == set(SOURCES)
