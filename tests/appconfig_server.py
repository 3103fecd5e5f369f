"""AppConfig for tests: both its planes and STS's identity over real HTTP, one request at a time.

moto has no AppConfigData and no deployments. What it does follows botocore's service models; which
faults come, and how a deployment goes, is the test's to say.
"""

import base64
import contextlib
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from jsonschema import Draft4Validator

APP, ENV, PROFILE = "abc1234", "env1234", "prf1234"
PLACE = "appconfig:sluice-dev/dev/policy"
BY_ID = f"appconfig:{APP}/{ENV}/{PROFILE}"
ARN = "arn:aws:sts::123456789012:assumed-role/finops/ana"
WELL = (("DEPLOYING", 20.0), ("DEPLOYING", 60.0), ("BAKING", 100.0))
ALARMED = (("DEPLOYING", 20.0), ("ROLLING_BACK", 20.0), ("ROLLED_BACK", 0.0))
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
UNDER_WAY = ("VALIDATING", "DEPLOYING", "BAKING")


class Problem(Exception):  # noqa: N818  (it reads as what it says)
    def __init__(self, status, code, message, **more):
        super().__init__(message)
        self.status, self.code, self.body = status, code, {"Message": message, **more}


class AppConfig:
    """`content`: what readers are given (bytes). `faults`: for the next calls of readers, each a
    status, "close" of the connection, or a function that answers. `asked`: what came, newest last.
    """

    def __init__(self):
        self.content, self.poll_s = b"", 1
        self.tokens, self.faults, self.asked = {}, deque(), []
        self.versions, self.deployments, self.course = {}, [], WELL
        self.schema, self.judge, self.before = None, lambda content: None, {}
        self.strategies = {"str1234": "sluice-dev-linear", "str5678": "slow"}
        fake, one = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                with one:
                    fake.asked.append((self.command, self.path, dict(self.headers), body))
                    try:
                        status, headers, said = fake.handle(
                            self.command, self.path, self.headers, body
                        )
                    except Problem as exc:
                        status, headers = exc.status, {"x-amzn-ErrorType": exc.code}
                        said = json.dumps(exc.body).encode()
                    except ConnectionAbortedError:
                        self.close_connection = True
                        self.connection.close()
                        return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(said)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815  (their names)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, **more):
        """What a process needs to take this for AWS."""
        named = {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": "eu-west-1", **KEYS, **more}
        return {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", **named}

    def handle(self, method, target, headers, body):
        parts = urlsplit(target)
        steps = [unquote(step) for step in parts.path.split("/")[1:]]
        if steps in (["configurationsessions"], ["configuration"]):
            if self.faults:
                fault = self.faults.popleft()
                if fault == "close":
                    raise ConnectionAbortedError
                if callable(fault):
                    return fault()
                raise Problem(fault, FAULTS[fault], "on request")
            if method == "POST":
                return self._session(json.loads(body))
            return self._latest(parse_qs(parts.query)["configuration_token"][0])
        if b"Action=GetCallerIdentity" in body:
            return 200, {"content-type": "text/xml"}, IDENTITY
        hook = self.before.pop((method, steps[-1]), None)
        if hook is not None:
            hook()
        self.page = int(parse_qs(parts.query).get("next_token", ["0"])[0])
        return self._control(method, steps, headers, body)

    # -- who reads ---------------------------------------------------------------------------------

    def _session(self, asked):
        wanted = [asked[f"{part}Identifier"] for part in PARTS]
        if not all(one in pair for one, pair in zip(wanted, KNOWN, strict=True)):
            raise Problem(404, "ResourceNotFoundException", "no such configuration")
        return 201, {}, json.dumps({"InitialConfigurationToken": self._token(None)}).encode()

    def _latest(self, token):
        if token not in self.tokens:
            raise Problem(400, "BadRequestException", "Request token is not valid")
        had = self.tokens.pop(token)  # good for one call
        headers = {
            "Next-Poll-Configuration-Token": self._token(self.content),
            "Next-Poll-Interval-In-Seconds": str(self.poll_s),
            "Content-Type": "application/json",
        }
        return 200, headers, b"" if had == self.content else self.content

    def _token(self, had):
        token = base64.b64encode(f"token {len(self.asked)} +/=".encode()).decode()
        self.tokens[token] = had
        return token

    # -- who publishes -----------------------------------------------------------------------------

    def _control(self, method, steps, headers, body):  # noqa: PLR0911  (a table)
        match (method, steps):
            case "GET", ["applications"]:
                return self._page([{"Id": APP, "Name": "sluice-dev"}])
            case "GET", ["deploymentstrategies"]:
                found = [{"Id": i, "Name": name} for i, name in self.strategies.items()]
                return self._page(found)
            case "GET", ["applications", _, "environments"]:
                return self._page([{"Id": ENV, "Name": "dev"}])
            case "GET", ["applications", _, "configurationprofiles"]:
                return self._page([{"Id": PROFILE, "Name": "policy"}])
            case "GET", [*_, "hostedconfigurationversions"]:
                found = [
                    {"VersionNumber": n, "Description": said}
                    for n, (_, said) in self.versions.items()
                ]
                return self._page(found)
            case "GET", [*_, "hostedconfigurationversions", number]:
                content, said = self._version(number)
                return 200, {"Version-Number": number, "Description": said}, content
            case "DELETE", [*_, "hostedconfigurationversions", number]:
                self._version(number)
                del self.versions[int(number)]
                return 204, {}, b""
            case "POST", [*_, "hostedconfigurationversions"]:
                return self._create(headers, body)
            case "GET", [*_, "deployments"]:
                return self._page(list(reversed(self.deployments)))
            case "POST", [*_, "deployments"]:
                return self._start(json.loads(body))
            case "GET", [*_, "deployments", number]:
                return 200, {}, json.dumps(self._moved(int(number))).encode()
            case "DELETE", [*_, "deployments", number]:
                return self._stop(int(number), headers.get("allow-revert"))
        raise Problem(404, "ResourceNotFoundException", f"{method} {'/'.join(steps)}")

    def _page(self, found):
        said = {"Items": found[self.page : self.page + PAGE]}
        if self.page + PAGE < len(found):
            said["NextToken"] = str(self.page + PAGE)
        return 200, {}, json.dumps(said).encode()

    def _version(self, number):
        if int(number) not in self.versions:
            raise Problem(404, "ResourceNotFoundException", f"no version {number}")
        return self.versions[int(number)]

    def _create(self, headers, body):
        last = max(self.versions, default=0)
        lock = headers.get("latest-version-number")
        if lock is not None and int(lock) != last:
            raise Problem(409, "ConflictException", "the latest version is another")
        if self.schema is not None:
            errors = list(Draft4Validator(self.schema).iter_errors(json.loads(body)))
            details = [
                {"Location": "/".join(map(str, e.absolute_path)), "Reason": e.message, "Type": "S"}
                for e in errors
            ]
            if errors:
                raise Problem(
                    400, "BadRequestException", "it is not valid", Reason="InvalidConfiguration",
                    Details={"InvalidConfiguration": details},
                )  # fmt: skip
        said = headers.get("description", "")
        assert len(said) <= 1024
        assert said.isascii()
        self.publish(body, said)
        return 201, {"Version-Number": str(last + 1), "Description": said}, body

    def publish(self, content, description=""):
        """Make a version, as somebody else would."""
        self.versions[max(self.versions, default=0) + 1] = (content, description)

    def _start(self, asked):
        if any(one["State"] in UNDER_WAY for one in self.deployments):
            raise Problem(409, "ConflictException", "another deployment is in progress")
        if not asked["DeploymentStrategyId"].startswith(("str", "AppConfig.")):
            raise Problem(404, "ResourceNotFoundException", "no such strategy")
        objection = self.judge(self._version(asked["ConfigurationVersion"])[0])
        if objection is not None:
            raise Problem(400, "BadRequestException", objection)
        return 201, {}, json.dumps(self.deploy(**asked)).encode()

    def deploy(self, ConfigurationVersion, DeploymentStrategyId="str1234", **more):  # noqa: N803
        """Begin a deployment; it moves a step each time that it is looked at."""
        one = {
            "DeploymentNumber": len(self.deployments) + 1,
            "ConfigurationProfileId": PROFILE,
            "ConfigurationVersion": str(ConfigurationVersion),
            "DeploymentStrategyId": DeploymentStrategyId,
            "State": "DEPLOYING",
            "PercentageComplete": 0.0,
            "EventLog": [],
            "StartedAt": f"2026-01-05T12:0{len(self.deployments)}:00Z",
            "course": list(self.course),
            **more,
        }
        self.deployments.append(one)
        return one

    def _moved(self, number):
        one = self.deployments[number - 1]
        if one["course"]:
            one["State"], one["PercentageComplete"] = one["course"].pop(0)
        if one["State"] == "BAKING":
            self.content = self._version(one["ConfigurationVersion"])[0]
        if one["State"] == "ROLLED_BACK" and not one["EventLog"]:
            one["EventLog"] = [{"Description": "alarm sluice-dev-errors rang"}]
        return one

    def _stop(self, number, revert):
        one = self.deployments[number - 1]
        if one["State"] != "DEPLOYING" and revert != "true":
            raise Problem(400, "BadRequestException", "it is not DEPLOYING")
        one["State"], one["course"] = "ROLLING_BACK", [("ROLLED_BACK", 0.0)]
        return 202, {}, json.dumps(one).encode()


PAGE = 2  # of a list: who lists has to turn pages
PARTS = ("Application", "Environment", "ConfigurationProfile")
KNOWN = ((APP, "sluice-dev"), (ENV, "dev"), (PROFILE, "policy"))
FAULTS = {
    400: "BadRequestException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
}
IDENTITY = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    f"<GetCallerIdentityResult><Arn>{ARN}</Arn><UserId>AROA:ana</UserId>"
    "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
).encode()
