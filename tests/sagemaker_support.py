"""SageMaker's side of the wire: its events, and whether a request proves who sent it.

Signatures are recomputed by botocore's own signer, so ours is never held against itself.
"""

import base64
import datetime as dt
import json
import struct
import zlib
from urllib.parse import parse_qs

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "eu-central-1"
ENDPOINT = "chat-endpoint"
ACCESS, SECRET, SESSION = "AKIDEXAMPLE", "wJalr/SECRET+KEY", "FwoG/SESSION+TOKEN=="
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ACCESS,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SESSION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
CREDENTIALS = Credentials(ACCESS, SECRET, SESSION)

EVENT_STREAM = "application/vnd.amazon.eventstream"
INVOKE = ", protocol: invoke_endpoint"


def fleet(name, url, *, model="m", lane="cpu", more=""):
    """A fleet of a catalogue at an endpoint behind this address."""
    return (
        f"  - {{id: {name}, model: {model}, lane: {lane}, engine: vllm, kind: sagemaker, "
        f'url: "{url}", endpoint: {ENDPOINT}, region: {REGION}, instance: c8g.xlarge, '
        f"profile: c8g.xlarge/qwen3-0.6b, "
        f"replicas: {{min: 1, max: 1, concurrency_each: 8}}{more}}}\n"
    )


# -- events ----------------------------------------------------------------------------------------


def frame(headers, payload=b""):
    """Encode one message; a header that is bytes is of type 6, a text of type 7."""
    raw = b""
    for name, value in headers.items():
        kind, sent = (6, value) if isinstance(value, bytes) else (7, value.encode())
        raw += struct.pack(">B", len(name)) + name.encode()
        raw += struct.pack(">BH", kind, len(sent)) + sent
    return framed(raw, payload)


def framed(raw_headers, payload):
    prelude = struct.pack(">II", 16 + len(raw_headers) + len(payload), len(raw_headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + raw_headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def part(payload):
    return frame(
        {
            ":event-type": "PayloadPart",
            ":content-type": "application/octet-stream",
            ":message-type": "event",
        },
        payload,
    )


def exception(name, **fields):
    return frame(
        {
            ":exception-type": name,
            ":content-type": "application/json",
            ":message-type": "exception",
        },
        json.dumps(fields).encode(),
    )


def streamed(*parts, end=b""):
    """An answer of InvokeEndpointWithResponseStream with these bytes of the container's."""
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: {EVENT_STREAM}\r\n"
        "x-amzn-sagemaker-content-type: text/event-stream; charset=utf-8\r\n"
        "x-amzn-invoked-production-variant: AllTraffic\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + b"".join(part(raw) for raw in parts) + end


def failed(status, code, **fields):
    """An error answer of the service, as its REST protocol has it."""
    body = json.dumps(fields).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
    head += f"x-amzn-errortype: {code}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def model_error(status, text):
    message = f'Received client error ({status}) from primary with message "{text}". See …'
    fields = {"OriginalStatusCode": status, "OriginalMessage": text}
    return failed(424, "ModelError", Message=message, **fields)


def proving(server, script):
    """Let only requests through to this script that prove who sent them."""

    def check(body, send, gone):
        said = complaint(server.raws[-1])
        if said is None:
            return script(body, send, gone)
        server.refused.append(said)
        return send(failed(403, "AccessDeniedException", Message=said))

    server.refused = []
    server.script = check


# -- proofs ----------------------------------------------------------------------------------------


def complaint(raw, *, credentials=CREDENTIALS, region=REGION):
    """Return what SageMaker would not believe of this request (head and body), or None."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    method, path, _ = line.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in pairs}
    proof = headers.get("authorization", "")
    if proof.startswith("Bearer "):
        if headers.keys() & {"x-amz-date", "x-amz-security-token"}:
            return "a bearer token and a signature"
        if "/openai/v1/" not in path:
            return "InvokeEndpoint takes no bearer token"
        return _bearer_complaint(proof.removeprefix("Bearer "), credentials, region)
    if "/openai/v1/" in path:
        return "the OpenAI path takes a bearer token alone"
    return _signature_complaint(method, path, headers, body, credentials, region)


def _signature_complaint(method, path, headers, body, credentials, region):
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return "not signed"
    fields = dict(part.split("=", 1) for part in rest.split(", "))
    names = fields["SignedHeaders"].split(";")
    must = {"host", "x-amz-date", "x-amz-security-token"}
    must |= {name for name in headers if name.startswith(("x-amzn-sagemaker-", "content-type"))}
    if not must <= set(names):
        return f"{must - set(names)} not signed"
    if headers["x-amz-security-token"] != credentials.token:
        return "another session"
    request = AWSRequest(
        method=method,
        url=f"http://{headers['host']}{path}",
        headers={name: headers[name] for name in names},
        data=body,
    )
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(credentials, "sagemaker", region)
    wanted = f"{credentials.access_key}/{auth.credential_scope(request)}"
    if fields["Credential"] != wanted:
        return f"credential {fields['Credential']}"
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return None if auth.signature(text, request) == fields["Signature"] else "wrong signature"


def _bearer_complaint(token, credentials, region):
    start, _, rest = token.rpartition("-")
    url = base64.b64decode(rest, validate=True).decode()
    forms = start == "sagemaker-api-key", url.startswith("sagemaker.amazonaws.com/?")
    if not all((*forms, url.endswith("&Version=1"))):
        return f"not the form of a token: {url}"
    signed, _, signature = url.removesuffix("&Version=1").partition("&X-Amz-Signature=")
    query = {name: values[0] for name, values in parse_qs(signed.partition("?")[2]).items()}
    said = query["Action"], query.get("X-Amz-Security-Token")
    if said != ("CallWithBearerToken", credentials.token):
        return "another action or session"
    at = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    age = (dt.datetime.now(dt.UTC) - at).total_seconds()
    if not -300 < age < int(query["X-Amz-Expires"]) <= 43200:
        return f"expired: {age} s old"
    request = AWSRequest(method="POST", url=f"https://{signed}", headers={})
    request.context["timestamp"] = query["X-Amz-Date"]
    auth = SigV4QueryAuth(credentials, "sagemaker", region)
    if query["X-Amz-Credential"] != f"{credentials.access_key}/{auth.credential_scope(request)}":
        return "another credential"
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return None if auth.signature(text, request) == signature else "wrong signature"
