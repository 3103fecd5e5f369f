import pytest

from backends.dialects import DIALECTS, engine_of
from backends.forms import ENGINES


def test_every_engine_of_the_catalogue_has_its_dialect():
    assert set(DIALECTS) == set(ENGINES)


@pytest.mark.parametrize(
    ("owned_by", "engine"),
    [
        ("llamacpp", "llama.cpp"),
        ("vllm", "vllm"),
        ("sglang", "sglang"),
        ("library", "ollama"),
        ("openai", None),
        ("", None),
    ],
)
def test_engines_are_known_by_the_name_they_give_themselves(owned_by, engine):
    assert engine_of(owned_by) == engine
