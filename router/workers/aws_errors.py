"""botocore's errors, named without their text, which may quote what was sent."""


def code_of(exc: Exception) -> str:
    """Return AWS's code, or the error's own name where AWS did not answer."""
    response = getattr(exc, "response", None) or {}  # HTTPClientError has one that is None
    return str(response.get("Error", {}).get("Code") or type(exc).__name__)
