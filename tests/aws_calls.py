"""What a request to AWS asks for, as a role's policy sees it: read from the wire."""

import io
import json
import re
from urllib.parse import parse_qs

SCOPE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/aws4_request")
OPERATIONS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem",
              "ConditionCheck": "ConditionCheckItem"}  # fmt: skip
NAMES = ("TableName", "DeliveryStreamName", "EndpointName", "TopicArn")


def calls_of(environ):
    """Return the calls of one request; its body can be read again after."""
    scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return []
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        asked, operation = json.loads(body or "{}"), target.rpartition(".")[2]
    else:
        asked = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        operation = asked.get("Action", f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    if operation == "TransactWriteItems":
        parts = [next(iter(part.items())) for part in asked["TransactItems"]]
        return [_call(scope[1], OPERATIONS[kind], part) for kind, part in parts]
    return [_call(scope[1], operation, asked)]


def _call(service, operation, asked):
    resource = next((asked[name] for name in NAMES if name in asked), "*")
    if "IndexName" in asked:
        resource += f"/index/{asked['IndexName']}"
    return {"service": service, "operation": operation, "resource": resource}
