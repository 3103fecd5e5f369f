"""What to do about a fleet's server that can't be used, by what it answered. Pure."""

from backends.base import BackendError, Broken, Garbled, Unreachable
from backends.catalogue import Fleet
from backends.dialects import OVERLOADED

_REDIRECTS = range(300, 400)
_KEYS = frozenset({401, 403, 407})
_SERVER = 500  # and above: HTTP's own
_INVOKE = (
    "check the endpoint's name and region, and that who asks may `sagemaker:InvokeEndpoint` and, "
    "on the OpenAI path, `sagemaker:CallWithBearerToken`"
)


def of_status(fleet: Fleet, status: int) -> str:
    """Return what to do about a list of models that was answered with this status."""
    if status in _REDIRECTS:
        return "redirects are not followed: write the url that it leads to"
    if status in _KEYS:
        if fleet.api_key is None:
            return "it asks for a key: write `api_key: ${env:NAME}` for the fleet"
        return f"check the key in `{fleet.api_key.name}`"
    if status in OVERLOADED:
        return "it is overloaded, or loads its model: try again"
    if status >= _SERVER:
        return "look into the server's log"
    return "check the port, and that the url ends where `/models` and `/chat/completions` begin"


def of_error(url: str, exc: BackendError) -> str | None:
    """Return what to do about a url that gave no answer; None: nothing that is special to it."""
    if url.lower().startswith("https:"):
        return "check its certificate; if it speaks no TLS, write `http://`" if _tls(exc) else None
    if isinstance(exc, Garbled | Broken):
        return "no model server's answer: check the port, and write `https://` if it speaks TLS"
    return None


def of_invoked(url: str, exc: BackendError) -> str:
    """Return what to do about an endpoint of SageMaker that could not be asked."""
    if "AWS credentials" in exc.detail:
        return "`aws sts get-caller-identity` must work here and where the router runs"
    if isinstance(exc, Unreachable):
        reach = "check the region, or the url, and that this machine has a way there"
        return of_error(url, exc) or reach
    return _INVOKE


def _tls(exc: BackendError) -> bool:
    """Whether a handshake may be at fault: one that nobody answers is a connect that isn't."""
    said = ("TLS", "certificate", "no connection in time")
    return isinstance(exc, Broken) or any(words in exc.detail for words in said)
