"""The name of a value by its content."""

import hashlib
import json

HASH_DIGITS = 16


def content_hash(value: object) -> str:
    """Return 16 hex digits of SHA-256 over the value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
