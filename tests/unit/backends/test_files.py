"""Files of the user's are read as UTF-8, or told to be none with their line."""

import pytest

from backends.files import on_disk
from yamlfile import Invalid

TEXT = "version: 1\nmodels:\n  - {id: ä}\n"


def refused(path):
    with pytest.raises(Invalid) as caught:
        on_disk(path)
    return str(caught.value)


def test_a_text_in_another_encoding_is_told_with_the_line_that_shows_it(tmp_path):
    path = tmp_path / "fleets.yaml"
    path.write_bytes(TEXT.encode("latin-1"))
    assert refused(path) == f"{path}:3: not UTF-8: invalid continuation byte at byte 28"


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_called_so(tmp_path, mark):
    path = tmp_path / "fleets.yaml"
    path.write_bytes(("\ufeff" + TEXT).encode(mark))
    assert refused(path) == f"{path}:1: not UTF-8 but UTF-16: save it as UTF-8"


def test_what_is_utf_8_is_read(tmp_path):
    path = tmp_path / "fleets.yaml"
    path.write_text(TEXT, "utf-8")
    assert on_disk(path).text == TEXT
