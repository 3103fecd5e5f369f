"""What a caller is told when it does not get an answer: the OpenAI envelope, an honest status.

Whose fault:
* the caller's   400 invalid_request_error, 401, 402, 403, 404, 408, 413, 422
* the fleets'    502, 503, 504 with the reason of every one
"""

from dataclasses import dataclass, field

import orjson


@dataclass(slots=True, eq=False)
class Refusal(Exception):  # noqa: N818  (a refusal is an answer, not a fault)
    """Ends a request with this status; `param` names the field or header at fault."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    extra: dict[str, object] = field(default_factory=dict)

    def body(self) -> bytes:
        return envelope(self.status, self.message, self.code, self.param, self.extra)


def envelope(
    status: int,
    message: str,
    code: str | None = None,
    param: str | None = None,
    extra: dict[str, object] | None = None,
) -> bytes:
    error = {"message": message, "type": _type(status), "param": param, "code": code}
    return orjson.dumps({"error": {**error, **(extra or {})}})


def _type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")  # noqa: PLR2004


_TYPES = {
    401: "authentication_error",
    402: "budget_exhausted",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "upstream_error",
    504: "upstream_error",
}
