"""DynamoDB for tests: moto's server with its requests one after the other.

Only so are its conditional writes atomic: threaded, moto lets two transactions between the check
and the write of each other. Its first line is its address; it ends with its input. Arguments, both
optional: the port, and the table of a ledger that it makes. Moto's other services are there too.

What it is asked for goes as JSON lines, `service`, `operation` (as IAM names it) and `resource`,
into the file that SLUICE_TEST_CALLS names, if it is set.
"""

import json
import os
import sys
import threading
from pathlib import Path

from aws_calls import calls_of
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

    recorded = os.environ.get("SLUICE_TEST_CALLS")

    def serial(environ, start_response):
        with one:
            if recorded:
                record(recorded, environ)
            return list(moto(environ, start_response))

    server = make_server("127.0.0.1", int(port), serial, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if table is not None:
        make_table(f"http://127.0.0.1:{server.server_port}", table)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


def record(path, environ):
    with Path(path).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(call) + "\n" for call in calls_of(environ))


def make_table(address, name):
    from ledger_support import dynamo_client

    from router.ledger.dynamo_table import definition

    dynamo_client(address).call("CreateTable", definition(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
