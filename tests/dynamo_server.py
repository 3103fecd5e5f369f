"""DynamoDB for tests: moto's server with its requests one after the other.

Only so are its conditional writes atomic: threaded, moto lets two transactions between the check
and the write of each other. Its first line is its address; it ends with its input.
"""

import copy
import os
import sys
import threading
from collections import defaultdict

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


def copy_only_what_is_touched():
    """Moto copies its tables whole for every operation of a transaction, to be able to undo it.

    With thousands of items that takes seconds. What it undoes is the same with the transaction's
    own items copied, as only one request is served at a time.
    """
    touched, as_it_was = [], DynamoDBBackend.transact_write_items

    def transact(self, transact_items):
        touched[:] = [
            (DynamoType(key["pk"]), DynamoType(key["sk"]))
            for part in transact_items
            for op in part.values()
            for key in (op.get("Key") or op["Item"],)
        ]
        return as_it_was(self, transact_items)

    def copied(self, _):
        same = copy.copy(self)
        same.items = defaultdict(dict, self.items)
        for pk, sk in touched:
            if pk in self.items:
                same.items[pk] = dict(same.items[pk])
                if sk in self.items[pk]:
                    same.items[pk][sk] = copy.deepcopy(self.items[pk][sk])
        return same

    DynamoDBBackend.transact_write_items = transact
    Table.__deepcopy__ = copied


def main():
    copy_only_what_is_touched()
    moto, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def serial(environ, start_response):
        with one:
            return list(moto(environ, start_response))

    server = make_server("127.0.0.1", 0, serial, threaded=True, request_handler=Quiet)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
