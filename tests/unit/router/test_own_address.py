"""A fleet that is the router itself is known by its url, whatever it is called."""

import socket
from types import SimpleNamespace

import pytest

from router.cli.own_address import objection


def said(bound, *urls):
    with socket.create_server((bound, 0)) as sock:
        port = sock.getsockname()[1]
        fleet = SimpleNamespace(id="one", urls=[url.replace("PORT", str(port)) for url in urls])
        return objection([fleet], sock)


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_url_where_the_router_listens_is_told(bound, host):
    told = said(bound, "http://10.0.0.1:8000/v1", f"http://{host}:PORT/v1")
    assert told is not None
    assert told.startswith(f"fleet one: `http://{host}:")
    assert "is where this router listens" in told


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/v1", "http://10.0.0.1:PORT/v1", "http://[::1]:PORT/v1", "http://a:PORT"],
)
def test_another_port_or_machine_is_none_of_its(url):
    assert said("127.0.0.1", url) is None
