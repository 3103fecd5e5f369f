"""The one table of backend kinds. Whoever knows an endpoint opens its backend here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from backends import openai_http, sagemaker
from backends.base import Backend, Endpoint

KINDS: Mapping[str, Callable[[Endpoint], Backend]] = MappingProxyType(
    {
        "openai_http": openai_http.open_backend,
        "emulated": openai_http.open_emulated,  # an OpenAI server too; what differs is its mark
        "sagemaker": sagemaker.open_backend,
    }
)
