"""A fleet whose url is the router's own: every request to it would come back to be sent again."""

import ipaddress
import socket
from collections.abc import Iterable

from backends.catalogue import Fleet
from backends.urls import target


def objection(fleets: Iterable[Fleet], sock: socket.socket) -> str | None:
    """Return which fleet is called where this socket listens, or None. Names are not looked up."""
    bound, port = sock.getsockname()[:2]
    for fleet in fleets:
        for url in fleet.urls:
            at = target(url)
            if at.port == port and _leads_to(at.host, bound):
                return (
                    f"fleet {fleet.id}: `{url}` is where this router listens, so requests would "
                    "come back to it for ever (its url is that of a model server; another port "
                    "of the router's is chosen with `--port`)"
                )
    return None


def _leads_to(host: str, bound: str) -> bool:
    if host == bound:
        return True
    ours = ipaddress.ip_address(bound)
    if not (ours.is_loopback or ours.is_unspecified):
        return False
    if host == "localhost":
        return True
    try:
        theirs = ipaddress.ip_address(host)
    except ValueError:
        return False
    both = theirs.version == ours.version or bound == "::"  # which listens for IPv4, too
    return both and (theirs.is_loopback or theirs.is_unspecified)
