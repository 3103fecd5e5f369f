"""DynamoDB for tests: moto's server with its requests one after the other.

Only so are its conditional writes atomic: threaded, moto lets two transactions between the check
and the write of each other. Its first line is its address; it ends with its input. Arguments, both
optional: the port, and the table of a ledger that it makes.
"""

import os
import sys
import threading

from dynamo_quick import quicken
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


def main(port=0, table=None):
    quicken()
    moto, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def serial(environ, start_response):
        with one:
            return list(moto(environ, start_response))

    server = make_server("127.0.0.1", int(port), serial, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if table is not None:
        make_table(f"http://127.0.0.1:{server.server_port}", table)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


def make_table(address, name):
    from ledger_support import dynamo_client

    from router.ledger.dynamo_table import definition

    dynamo_client(address).call("CreateTable", definition(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
