"""What requests have in common that a replica may have cached: a digest of how they begin. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

PREFIX_CHARACTERS: Final = 512  # of each message: templates and documents are longer than greetings
MOST_MESSAGES: Final = 8


def prefix_of(body: Mapping[str, Any]) -> bytes:
    """Return the digest of how system messages and the first turn begin, which is what stays the
    same through a conversation. Nothing of it can be read back.
    """
    digest = hashlib.blake2b(digest_size=8)
    for message in body["messages"][:MOST_MESSAGES]:
        digest.update(f"\0{message['role']}\0".encode())
        digest.update(_text(message.get("content"))[:PREFIX_CHARACTERS].encode("utf-8", "replace"))
        if message["role"] not in ("system", "developer"):
            break
    return digest.digest()


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text[:PREFIX_CHARACTERS] for text in texts if isinstance(text, str))
