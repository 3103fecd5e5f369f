"""What can be read off a request without a model, in English and Chinese alike. Pure."""

from router.features.request import Features, Reading, read

__all__ = ["Features", "Reading", "read"]
