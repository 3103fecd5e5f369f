"""The container's environment: what is read, and what each mistake is told."""

import pytest

from backends.engines.container import BadSetting
from backends.engines.container.engine_kinds import KINDS
from backends.engines.container.settings import read


def fault(**environment):
    with pytest.raises(BadSetting) as caught:
        read(environment, KINDS)
    return str(caught.value)


def test_the_seeds_two_settings_are_enough_for_either_engine():
    given = {"OLLAMA_MODEL_ID": "qwen3:0.6b", "OLLAMA_NUM_PARALLEL": "8"}
    for engine in KINDS:
        settings = read({**given, "SLUICE_ENGINE": engine}, KINDS)
        assert (settings.model_id, settings.parallel, settings.port) == ("qwen3:0.6b", 8, 8080)


def test_other_peoples_variables_are_left_alone():
    assert read({"PATH": "/bin", "OLLAMA_DEBUG": "1"}, KINDS).engine == "llama.cpp"


def test_an_empty_setting_is_as_good_as_none():
    assert read({"OLLAMA_NUM_PARALLEL": "", "SLUICE_MODEL_FILE": ""}, KINDS).parallel == 4


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OLLAMA_NUM_PARALLEL", "0", "an integer from 1 to 256 is valid"),
        ("OLLAMA_NUM_PARALLEL", "two", "an integer from 1 to 256 is valid"),
        ("OLLAMA_NUM_PARALLEL", "٣", "an integer from 1 to 256 is valid"),
        ("OLLAMA_MODEL_ID", "--verbose", "does not start with `-`"),
        ("SLUICE_DRAIN_S", "30", "an integer from 0 to 27 is valid"),
        ("SLUICE_ENGINE", "vllm", "unknown engine (known: llama.cpp, ollama)"),
        ("SLUICE_MODEL_FILE", "../../etc/passwd", "inside the model's folder"),
        ("SLUICE_MODEL_FILE", "/etc/passwd", "inside the model's folder"),
        ("SLUICE_MODEL_SHA256", "abc", "64 hexadecimal digits"),
        ("SLUICE_MODEL_URL", "file:///m.gguf", "unknown scheme `file`"),
        ("SLUICE_MODEL_URL", "http://169.254.169.254/m", "a link-local address"),
        ("SLUICE_MODEL_URL", "https://s3/m?a=模型", "a url is ASCII"),
        ("SLUICE_LLAMA_ARGS", "--port 9", "`--port` is the adapter's own"),
        ("SLUICE_LLAMA_ARGS", "--api-key=secret", "`--api-key` is the adapter's own"),
        ("SLUICE_LLAMA_ARGS", "'open", "its quotes don't match"),
        ("SLUICE_TREADS", "4", "there is no such setting (known: SLUICE_BODY_LIMIT_BYTES"),
    ],
)
def test_each_mistake_is_told_with_its_name_and_what_is_valid(name, value, said):
    told = fault(**{name: value})
    assert told.startswith(f"{name}: ")
    assert said in told
    assert "secret" not in told


def test_all_mistakes_are_told_at_once():
    told = fault(SLUICE_THREADS="0", SLUICE_QUEUE="-1").splitlines()
    assert {line.split(":")[0] for line in told} == {"SLUICE_QUEUE", "SLUICE_THREADS"}


def test_what_goes_together_is_asked_for_together():
    url, sha256 = "https://bucket.s3.amazonaws.com/m.gguf?X-Amz-Signature=1", "a" * 64
    assert read({"SLUICE_MODEL_URL": url, "SLUICE_MODEL_SHA256": sha256}, KINDS).model_url == url
    assert "go together" in fault(SLUICE_MODEL_URL=url)
    assert "go together" in fault(SLUICE_MODEL_SHA256=sha256)
    both = {"SLUICE_MODEL_URL": url, "SLUICE_MODEL_SHA256": sha256, "SLUICE_MODEL_FILE": "m"}
    assert "leave it out" in fault(**both)


def test_ollama_refuses_what_it_would_ignore():
    named = {"SLUICE_ENGINE": "ollama", "OLLAMA_MODEL_ID": "m"}
    assert "needs the model's name" in fault(SLUICE_ENGINE="ollama")
    for name, value in (
        ("SLUICE_THREADS", "4"),
        ("SLUICE_LLAMA_ARGS", "--mlock"),
        ("SLUICE_MODEL_FILE", "m.gguf"),
    ):
        assert "goes with SLUICE_ENGINE=llama.cpp only" in fault(**named, **{name: value})
