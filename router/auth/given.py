"""Where a request carries its key or token."""

from collections.abc import Mapping

SIGNED = b"aws4-hmac-sha256"  # the scheme of AWS's signatures, as API Gateway passes them on


def credential(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the bearer token, else `x-sluice-key`; empty: neither came."""
    scheme, _, text = headers.get(b"authorization", b"").partition(b" ")
    return text.strip() if scheme.lower() == b"bearer" else headers.get(b"x-sluice-key", b"")


def signed(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether `Authorization` has a signature of AWS, which says nothing of keys of ours."""
    return headers.get(b"authorization", b"").partition(b" ")[0].lower() == SIGNED
