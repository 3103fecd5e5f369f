"""What no fleet's key can be; the objection repeats nothing of it."""

import pytest

from backends.openai_http import key_objection


@pytest.mark.parametrize(
    "key",
    ["sk-s\n", "sk-\r\ns", "Bearer sk-s", "sk-s\t", "sk-\0s", "sk-s\x7f", "sk-密钥", "sk-\udcff"],
)
def test_a_key_that_no_header_can_hold_as_one_word_is_refused_without_a_part_of_it(key):
    assert key_objection(key) == (
        "has characters that no key has (a space, a line's end, or none of ASCII's)"
    )


@pytest.mark.parametrize("key", ["sk-s", "a.b-c_d~e+f/g==", "!\"#$%&'()*,:;<>?@[]^`{|}"])
def test_visible_ascii_is_a_key(key):
    assert key_objection(key) is None
