"""Which URLs a backend may have, and what they mean. Pure.

Loopback and private networks are the operator's normal case. Link-local networks and the metadata
services of clouds are refused, here by name and again at connect by address: they hand out
credentials to whoever can make a server ask for a URL.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("169.254.0.0/16", "a link-local address"),  # AWS, GCP, Azure and EKS credentials
        ("fe80::/10", "a link-local address"),
        ("fd00:ec2::/32", "a metadata service"),  # AWS over IPv6
        ("fd20:ce::254/128", "a metadata service"),  # GCP over IPv6
        ("100.100.100.200/32", "a metadata service"),  # Alibaba Cloud
        ("168.63.129.16/32", "a metadata service"),  # Azure's host agent
        ("192.0.0.192/32", "a metadata service"),  # Oracle Cloud's first generation
    )
)
_METADATA_NAMES = frozenset(
    {"metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_V4_AT_THE_END = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of one's own (RFC 8215)
    )
)

_USUAL_PORT = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_PATH = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what the request line and the host header say."""

    host: str
    port: int
    tls: bool
    authority: str
    base_path: str


def check_url(url: str) -> str | None:
    """Return why no backend may have this URL, or None. The text never repeats a credential."""
    try:
        target(url)
    except ValueError as exc:
        return str(exc)
    return None


def target(url: str) -> Target:
    """Return the parts of a URL, or raise ValueError with the objection to it."""
    if any(char <= " " or char == "\x7f" for char in url):  # urlsplit would drop some of them
        raise ValueError("a url has no spaces or control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("this is no url (valid: `http://host:port/v1`)") from None
    if "://" not in url:
        raise ValueError("a url begins with `http://` or `https://`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a url carries no credentials (put the key in `api_key: ${env:NAME}`)")
    if parts.scheme not in _USUAL_PORT:
        raise ValueError(f"unknown scheme `{parts.scheme}` (known: http, https)")
    if parts.query or parts.fragment:
        raise ValueError("a url ends with its path: no `?` and no `#`")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("the path of a url is ASCII (percent-encode the rest)")
    port = _port(parts)
    host = _host(parts.hostname or "")
    usual = _USUAL_PORT[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    return Target(
        host=host,
        port=port or usual,
        tls=parts.scheme == "https",
        authority=shown if port in (None, usual) else f"{shown}:{port}",
        base_path=parts.path.rstrip("/"),
    )


def address_objection(address: str) -> str | None:
    """Return why nothing may connect to this IP address, or None."""
    parsed = _embedded(ipaddress.ip_address(address))
    for network, what in _FORBIDDEN:
        if parsed.version == network.version and parsed in network:
            return f"is {what}"
    return None


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port of this url can't be called (valid: 1 to 65535)")
    return port


def _host(name: str) -> str:
    """Return the host in ASCII (`模型.example` is `xn--...`), or raise ValueError."""
    if not name:
        raise ValueError("this url has no host (valid: `http://host:port/v1`)")
    host = _ascii(name)
    if host is None:
        raise ValueError(f"`{name}` is no host name")
    if host.rstrip(".") in _METADATA_NAMES:
        raise ValueError(f"`{host}` is a metadata service, no model server")
    numeric = _numeric(host)
    objection = address_objection(numeric) if numeric is not None else None
    if objection is not None:
        raise ValueError(f"`{host}` {objection}, no model server")
    return host


def _ascii(name: str) -> str | None:
    if ":" in name:
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            return None
    try:
        ascii_name = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return ascii_name if _NAME.fullmatch(ascii_name) else None


def _numeric(host: str) -> str | None:
    """Return the IP address that a host is, also in the short forms that resolvers take."""
    if ":" in host:
        return host
    try:
        # `2852039166` is 169.254.169.254; some resolvers take off the dot that ends a name
        return socket.inet_ntoa(socket.inet_aton(host.removesuffix(".")))
    except OSError:
        return None


def _embedded(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one leads to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and any(address in network for network in _V4_AT_THE_END):
        inner = ipaddress.IPv4Address(address.packed[12:])
    return inner or address
