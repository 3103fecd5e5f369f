"""Forms that are no honest upload."""

import pytest

from router.batches.multipart import FORM_BYTES, STEP_BYTES, Form
from router.errors import Refusal

KIND = b"multipart/form-data; boundary=b"
FIELD = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename=a\r\n\r\n'


def read(*pieces):
    got = []
    form = Form(KIND, got.append)
    for piece in pieces:
        for _ in form.feed(piece):
            pass
    form.close()
    return b"".join(got)


def refused(*pieces):
    with pytest.raises(Refusal) as caught:
        read(*pieces)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    "pieces",
    [
        [FIELD] * 300,
        [FIELD * 300],
        [b"--b\r\nX-A: ", *[b"y" * 1000] * 20],
        [b"--b\r\n", *[b"X-A: y\r\n"] * 3000],
        [FILE, b"x" * 10**6, b"\r\n", *[FIELD] * 300],
        [FILE, b"x\r\n--b--\r\n", b"\r\n" * FORM_BYTES],
    ],
    ids=["fields", "at once", "a header", "headers", "after the file", "after the end"],
)
def test_what_comes_beside_the_file_is_bounded(pieces):
    # single headers are bounded by the parser itself
    assert refused(*pieces) in (
        f"the form has more than {FORM_BYTES:,} bytes beside its file",
        "the form can't be read: it is not `multipart/form-data`",
    )


@pytest.mark.parametrize("size", [1, 100, STEP_BYTES, 10**6])
def test_the_file_itself_counts_for_nothing_however_it_is_cut(size):
    text = b"\r\n--bee\r\n--" * 5000
    whole = FIELD + FILE + text + b"\r\n--b--\r\n"
    assert read(*(whole[at : at + size] for at in range(0, len(whole), size))) == text


def test_a_piece_is_read_in_steps():
    form = Form(KIND, lambda _: None)
    assert len(list(form.feed(FILE + b"x" * 10 * STEP_BYTES))) == 11
