"""Where a request carries its key or token."""

from collections.abc import Mapping


def credential(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the bearer token, else `x-sluice-key`; empty: neither came."""
    scheme, _, text = headers.get(b"authorization", b"").partition(b" ")
    return text.strip() if scheme.lower() == b"bearer" else headers.get(b"x-sluice-key", b"")
