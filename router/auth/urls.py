"""From where an issuer's keys may be fetched. Pure."""

from backends.urls import check_url, target

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def url_fault(url: str) -> str | None:
    """Return why keys may not be fetched from this URL, or None."""
    origin, _, _query = url.partition("?")
    objection = check_url(origin)
    if objection is not None:
        return objection.removesuffix(", no model server")
    if not origin.startswith("https://") and target(origin).host not in _LOOPBACK:
        return "who signs must be known for sure: use https (http only of this machine itself)"
    return None
