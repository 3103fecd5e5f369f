"""What the observer asks a cluster of EKS, over real TLS with a certificate of its own."""

import base64
import datetime as dt
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.session
import on_eks
import pytest
from botocore.stub import Stubber
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backends.base import Seen
from router.workers import kubernetes
from router.workers.endpoints import Described, describing
from router.workers.kubernetes import Place, Untold
from router.world import fleet_models

PATH = "/apis/apps/v1/namespaces/sluice-scout-p5/deployments/scout-p5"


def authority():
    """Return the PEM of a new certificate and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()


class Api(ThreadingHTTPServer):
    """The API of one cluster: `answers` by path, `asked` in order."""

    daemon_threads = True

    def __init__(self, folder):
        self.answers, self.asked = {}, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.pem, secret = authority()
        (folder / "pem").write_text(self.pem + secret, "utf-8")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pem")
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def place(self):
        return Place(f"https://127.0.0.1:{self.server_port}", self.pem)

    def handle_error(self, request, client_address):
        """A caller that doesn't trust us hangs up."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["authorization"]))
        status, body = self.server.answers.get(self.path, (404, b"{}"))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path):
    server = Api(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def deployment(wanted, **status):
    return 200, json.dumps({"spec": {"replicas": wanted}, "status": status}).encode()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (deployment(2, replicas=2, readyReplicas=2), (2, 2)),
        (deployment(2, replicas=2), (0, 2)),
        (deployment(0), (0, 0)),
    ],
)
def test_a_deployment_tells_how_many_of_its_pods_are_ready(api, answer, expected):
    api.answers[PATH] = answer
    assert kubernetes.pods(api.place, "who", "scout-p5") == expected
    assert api.asked == [(PATH, "Bearer who")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b"{}"), "not applied"),
        ((403, b"secret"), "HTTP 403"),
        ((200, b"<html>"), "JSONDecodeError"),
        ((200, b"[]"), "no deployment"),
        ((200, b'{"spec": {"replicas": "many"}, "status": {}}'), "no deployment"),
    ],
)
def test_a_cluster_that_does_not_tell_says_why_and_not_what(api, answer, said):
    api.answers[PATH] = answer
    with pytest.raises(Untold, match=said) as found:
        kubernetes.pods(api.place, "who", "scout-p5")
    assert "secret" not in str(found.value)


def test_nobody_but_the_cluster_s_own_authority_is_believed(api):
    stranger, _ = authority()
    with pytest.raises(Untold, match="SSLCertVerificationError"):
        kubernetes.pods(Place(api.place.endpoint, stranger), "who", "scout-p5")
    assert api.asked == []


def test_a_cluster_that_is_away_is_untold(api):
    at = Place("https://127.0.0.1:9", api.pem)
    with pytest.raises(Untold, match="ConnectionRefusedError"):
        kubernetes.pods(at, "who", "scout-p5")


def test_the_cluster_s_place_is_what_eks_says():
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-2"}
    client = boto3.client("eks", **keys)
    told = {"endpoint": "https://a.eks", "certificateAuthority": {"data": "UEVN"}}
    with Stubber(client) as stub:
        stub.add_response("describe_cluster", {"cluster": told}, {"name": "sluice-prod"})
        assert kubernetes.place(client, "sluice-prod") == Place("https://a.eks", "PEM")


def test_who_asks_is_a_signed_question_to_sts_for_this_cluster_alone():
    session = botocore.session.Session()
    session.set_credentials("AKIAEXAMPLE", "secret", "session")
    found = kubernetes.token(session, "us-east-2", "sluice-prod")
    start, _, rest = found.partition(".")
    assert start == "k8s-aws-v1"
    assert "=" not in rest
    url = urlsplit(base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4)).decode())
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert url.netloc == "sts.us-east-2.amazonaws.com"
    assert query["Action"] == "GetCallerIdentity"
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query["X-Amz-Security-Token"] == "session"
    assert "secret" not in url.query.replace("session", "")


class Eks(BaseHTTPRequestHandler):
    """EKS's own API, which knows one cluster: `cluster`."""

    cluster: dict

    def do_GET(self):
        known = self.path == "/clusters/sluice-lanes"
        body = json.dumps({"cluster": self.cluster} if known else {"message": "none"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def describe(api, tmp_path, monkeypatch):
    """Return what the observer has of a fleet, by stage."""
    data = base64.b64encode(api.pem.encode()).decode()
    told = {"endpoint": api.place.endpoint, "certificateAuthority": {"data": data}}
    handler = type("Told", (Eks,), {"cluster": told})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_EKS", f"http://127.0.0.1:{server.server_port}")
    models = fleet_models(on_eks.stage(tmp_path).catalogue)
    (model,) = (each for each in models if each.fleet.id == "scout-p5")
    yield lambda stage: describing(stage)(model)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (deployment(2, readyReplicas=1), Described(Seen("up"), 1)),
        (deployment(1), Described(Seen("loading"), 0)),
        (deployment(0), Described(Seen("down"), 0)),
        ((500, b""), None),
    ],
)
def test_a_fleet_on_eks_is_up_waking_or_asleep_as_its_deployment_is(
    api, describe, answer, expected
):
    api.answers[PATH] = answer
    assert describe("lanes") == expected


def test_a_stage_whose_cluster_is_not_there_tells_nothing(api, describe):
    api.answers[PATH] = deployment(1)
    assert describe("other") is None
