"""A real OIDC issuer on a free port of this machine, with real keys, that signs what it is told."""

import base64
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "sluice"
DISCOVERY = "/.well-known/openid-configuration"


def private_key(algorithm, number=0):
    """A key of our own for tests; the number tells two of them apart."""
    return _made(algorithm, number)


@cache  # which tells f(a) from f(a, 0)
def _made(algorithm, _number):
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    raise AssertionError(algorithm)


def jwk(algorithm, kid, number=0, **more):
    made = get_default_algorithms()[algorithm]
    public = made.to_jwk(private_key(algorithm, number).public_key(), as_dict=True)
    public.pop("key_ops", None)
    return {**public, "kid": kid, "alg": algorithm, "use": "sig", **more}


def b64(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """`answers` are (status, body) by path; `asked` are the paths that were asked for."""

    def __init__(self, *keys):
        self.asked = []
        self.answers = {}
        self._server = None
        self._port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self._port}"
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.answers[DISCOVERY] = (200, json.dumps(discovery).encode())
        self.publish(*(keys or (jwk("RS256", "one"),)))

    def publish(self, *keys):
        self.answers["/keys"] = (200, json.dumps({"keys": keys}).encode())

    def claims(self, **more):
        now = int(time.time())
        standard = {"iss": self.url, "aud": AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 600}
        claims = {**standard, "org": "acme", "team": "search", **more}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, algorithm="RS256", kid="one", number=0, headers=None, **claims):
        headers = {"kid": kid, **(headers or {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        key = private_key(algorithm, number)
        return jwt.encode(self.claims(**claims), key, algorithm, headers=headers)

    def start(self):
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                status, body = issuer.answers.get(self.path, (404, b"nothing"))
                if callable(body):
                    body = body()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.send_header("location", f"{issuer.url}/keys")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                pass  # a router that hangs up is no fault here

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def times_asked(self, path="/keys"):
        return self.asked.count(path)
