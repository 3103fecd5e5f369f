"""Whether a router on AWS can reach a fleet's url. Pure.

A small stage has no VPC: it reaches public addresses alone. A prod stage runs in a VPC without a
way out: it reaches private addresses, and AWS by VPC endpoints in its own region.
"""

import ipaddress
from collections.abc import Iterator

from backends.urls import target

LOOPBACK = ("localhost", "localhost.localdomain", "ip6-localhost")
PRIVATE_SUFFIXES = (".internal", ".local", ".lan", ".home.arpa")
INTERNAL_BALANCER = "internal-"  # how the name of an internal load balancer of AWS begins


def objection(url: str, *, prod: bool) -> str | None:
    """Return why the router of such a stage can't call this url, or None."""
    found = target(url)
    kind = _kind(found.host)
    if kind == "loopback":
        return f"`{url}` is the router's own machine: on AWS no model runs there"
    if prod:
        if kind == "public":
            return (
                f"`{url}` is a public address, and the VPC of `size: prod` has no way out (no "
                "NAT): give the fleet an address in the VPC (peering, PrivateLink)"
            )
        return None
    if kind == "private":
        return (
            f"`{url}` is a private address, and `size: small` has no VPC to reach it from: "
            "take `size: prod`, or a public address over https"
        )
    if not found.tls:
        return f"`{url}` would carry prompts and keys over the internet in clear: use https"
    return None


def doubts(url: str, *, prod: bool) -> Iterator[str]:
    """Yield what can't be known of this url from here."""
    if prod and _kind(target(url).host) == "name":
        yield (
            f"`{url}` must resolve to an address in the VPC: `size: prod` has no way out (no NAT)"
        )


def _kind(host: str) -> str:
    """Return ``loopback``, ``private``, ``public``, or ``name``: who knows."""
    name = host.rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if name in LOOPBACK or name.endswith(".localhost"):
            return "loopback"
        inside = name.endswith(PRIVATE_SUFFIXES) or "." not in name
        balancer = name.startswith(INTERNAL_BALANCER) and ".elb." in name
        return "private" if inside or balancer else "name"
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    return "public" if address.is_global else "private"
