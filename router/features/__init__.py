"""What can be read off a request without a model, in English and Chinese alike. Pure."""

from router.features.request import Features, last_text, read

__all__ = ["Features", "last_text", "read"]
