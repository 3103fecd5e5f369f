import ipaddress
import re

import pytest

from backends.urls import address_objection, check_url, target


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8081/v1",
        "http://localhost:8081/v1",
        "https://api.example/v1/",
        "HTTPS://API.example",
        "http://10.0.0.7:8000/v1",
        "http://vllm-0.vllm:8000/v1",
        "http://model_server:8000",
        "http://[::1]:8000/v1",
        "http://[fd12:3456::1]/v1",
        "http://模型.example/v1",
        "http://metadata:8000/v1",
    ],
)
def test_a_url_of_a_model_server_is_allowed(url):
    assert check_url(url) is None


@pytest.mark.parametrize(
    ("url", "objection"),
    [
        ("", "a url begins with `http://` or `https://`"),
        ("127.0.0.1:8081/v1", "a url begins with `http://` or `https://`"),
        ("localhost:8081/v1", "a url begins with `http://` or `https://`"),
        ("ftp://a/v1", "unknown scheme `ftp` (known: http, https)"),
        ("file:///etc/passwd", "unknown scheme `file`"),
        ("http:///v1", "has no host"),
        ("http://:80/v1", "has no host"),
        ("http://a:0/v1", "the port of this url can't be called (valid: 1 to 65535)"),
        ("http://a:65536/v1", "valid: 1 to 65535"),
        ("http://a:b/v1", "valid: 1 to 65535"),
        ("http://[::1/v1", "is no url"),
        ("http://a/v1?key=1", "no `?`"),
        ("http://a/v1#x", "no `#`"),
        ("http://a/价格", "percent-encode"),
        ("http://a/v1 ", "no spaces"),
        ("http://a\r\nhost: b/v1", "no spaces or control characters"),
        ("http://a\t/v1", "control"),
        ("http://-a/v1", "no host name"),
        ("http://a..b/v1", "no host name"),
        (f"http://{'a' * 64}/v1", "no host name"),
        ("http://[::g]/v1", "is no url"),
        ("http://::1/v1", "valid: 1 to 65535"),
        ("http://a%2eb/v1", "no host name"),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://169.254.170.2/v2", "link-local"),
        ("http://2852039166/", "link-local"),
        ("http://0xa9fea9fe/", "link-local"),
        ("http://169.254.43518/", "link-local"),
        ("http://025177524776/", "link-local"),
        ("http://0251.0376.0251.0376/", "link-local"),
        ("http://0xA9.0xFE.0xA9.0xFE/", "link-local"),
        ("http://0xa9.254.0251.254/", "link-local"),
        ("http://169.254.169.254./", "link-local"),
        ("http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/", "link-local"),
        ("http://[fe80::1%25eth0]/", "link-local"),
        ("http://[fd00:0ec2:0::254]/", "metadata service"),
        ("http://192.0.0.192/", "metadata service"),
        ("http://instance-data.ec2.internal/", "metadata service"),
        ("http://169。254。169。254/", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://[64:ff9b::a9fe:a9fe]/", "link-local"),
        ("http://[fd00:ec2::254]/", "metadata service"),
        ("http://100.100.100.200/", "metadata service"),
        ("http://metadata.google.internal/", "metadata service"),
        ("http://Metadata.Google.Internal./", "metadata service"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(url, objection):
    assert objection in (check_url(url) or "")
    with pytest.raises(ValueError, match=re.escape(objection)):
        target(url)


@pytest.mark.parametrize("url", ["http://me:secret@a/v1", "http://secret@a/", "ftp://:secret@a"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    objection = check_url(url) or ""
    assert "credentials" in objection
    assert "secret" not in objection


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "base_path"),
    [
        ("http://A.example/v1/", "a.example", 80, "a.example", "/v1"),
        ("https://a.example", "a.example", 443, "a.example", ""),
        ("http://a.example:80/", "a.example", 80, "a.example", ""),
        ("https://a.example:80/x/y", "a.example", 80, "a.example:80", "/x/y"),
        ("http://[::1]:8000/v1", "::1", 8000, "[::1]:8000", "/v1"),
        ("http://模型.example", "xn--xgs754b.example", 80, "xn--xgs754b.example", ""),
    ],
)
def test_a_url_says_where_to_connect_and_what_to_ask_for(url, host, port, authority, base_path):
    parts = target(url)
    assert (parts.host, parts.port, parts.authority) == (host, port, authority)
    assert (parts.base_path, parts.tls) == (base_path, url.startswith("https"))


@pytest.mark.parametrize("inner", ["169.254.169.254", "169.254.0.1", "127.0.0.1", "10.1.2.3"])
def test_an_ipv4_address_is_judged_the_same_in_every_ipv6_dress(inner):
    number = int(ipaddress.IPv4Address(inner))
    dresses = [
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("::ffff:0:0:0")) | number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b:1::")) | number),
    ]
    allowed = address_objection(inner) is None
    assert [address_objection(str(dress)) is None for dress in dresses] == [allowed] * len(dresses)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::", "192.168.1.1", "8.8.8.8", "fd00::1"])
def test_loopback_private_and_public_addresses_are_allowed(address):
    assert address_objection(address) is None
