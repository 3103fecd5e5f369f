"""What a request to AWS asks for, as a role's policy sees it: read from the wire."""

import io
import json
import re
from urllib.parse import parse_qs

SCOPE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/aws4_request")
OPERATIONS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem",
              "ConditionCheck": "ConditionCheckItem"}  # fmt: skip
NAMES = ("TableName", "DeliveryStreamName", "EndpointName", "TopicArn", "QueueUrl")
# By IAM's names: S3 has no right to a part of an upload, nor SQS to messages by the ten.
OF_OBJECTS = {"GET": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}
SEND_TOGETHER = {"SendMessageBatch": "SendMessage"}


def calls_of(environ):
    """Return the calls of one request; its body can be read again after."""
    scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return []
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    if scope[1] == "s3":
        return _of_object(environ)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        asked, operation = json.loads(body or "{}"), target.rpartition(".")[2]
    else:
        asked = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        operation = asked.get("Action", f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    if operation == "TransactWriteItems":
        parts = [next(iter(part.items())) for part in asked["TransactItems"]]
        return [_call(scope[1], OPERATIONS[kind], part) for kind, part in parts]
    return [_call(scope[1], SEND_TOGETHER.get(operation, operation), asked)]


def _of_object(environ):
    """Return the call of an object, by the first folder of its name."""
    bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
    if not key:
        return []
    operation = OF_OBJECTS[environ["REQUEST_METHOD"]]
    if environ["REQUEST_METHOD"] == "DELETE" and "uploadId" in environ["QUERY_STRING"]:
        operation = "AbortMultipartUpload"
    resource = f"{bucket}/{key.partition('/')[0]}/one"
    return [{"service": "s3", "operation": operation, "resource": resource}]


def _call(service, operation, asked):
    resource = next((asked[name] for name in NAMES if name in asked), "*")
    if "IndexName" in asked:
        resource += f"/index/{asked['IndexName']}"
    if "QueueUrl" in asked:
        resource = resource.rpartition("/")[2]
    return {"service": service, "operation": operation, "resource": resource}
