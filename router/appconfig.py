"""What AWS AppConfig gives those who read a configuration: AppConfigData's two operations.

A session is begun once; each answer has the token of the next call, good for one call and a day.
Called without boto3 (router.aws_api), from any one thread at a time.
"""

from typing import Final
from urllib.parse import quote

import orjson

from router.appconfig_place import Place
from router.aws_api import OK, Api, ApiError, ApiUnreachable, error_of
from router.aws_http import Answer

CREATED: Final = 201
# Between two calls. The service says 60 s if not asked for others; what it says is bounded here.
LEAST_S, MOST_S, USUAL_S = 1.0, 86_400.0, 60.0
MOST_TOKEN: Final = 8192


class Reader:
    """One configuration. Raises aws_api's ApiError, ApiUnreachable and Misset."""

    def __init__(self, place: Place, api: Api) -> None:
        self._place, self._api = place, api
        self._token: str | None = None
        self.next_s = USUAL_S  # until the service wants to be asked again

    def latest(self) -> bytes | None:
        """Return what is in force for this reader; None: what it was given before still is."""
        if self._token is not None:
            try:
                return self._asked(self._token) or None
            except ApiError as exc:
                if exc.code != "BadRequestException":
                    raise
                # The token is a day old, or the answer to it was lost: a new session begins.
        content = self._asked(self._begun())
        if not content:
            raise ApiError("Empty", "nothing was deployed there yet", OK, {})
        return content

    def close(self) -> None:
        self._api.close()

    def _begun(self) -> str:
        body = orjson.dumps(
            {
                "ApplicationIdentifier": self._place.application,
                "EnvironmentIdentifier": self._place.environment,
                "ConfigurationProfileIdentifier": self._place.profile,
            }
        )
        headers = {"content-type": "application/json"}
        answer = self._api.tried(
            lambda: _ok(self._api.sent("POST", "/configurationsessions", headers, body), CREATED)
        )
        try:
            return str(orjson.loads(answer.body)["InitialConfigurationToken"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ApiUnreachable(f"{self._api.endpoint}: the session has no token") from None

    def _asked(self, token: str) -> bytes:
        query = f"configuration_token={quote(token, safe='-_.~')}"
        answer = self._api.tried(
            lambda: _ok(self._api.sent("GET", "/configuration", {}, b"", query), OK)
        )
        said = answer.headers.get(b"next-poll-configuration-token", b"").decode("latin-1")
        self._token = said if 0 < len(said) <= MOST_TOKEN else None  # None: a new session
        wait = answer.headers.get(b"next-poll-interval-in-seconds", b"")
        self.next_s = min(MOST_S, max(LEAST_S, float(wait))) if wait.isdigit() else USUAL_S
        return answer.body


def _ok(answer: Answer, wanted: int) -> Answer:
    if answer.status != wanted:
        raise error_of(answer)
    return answer
