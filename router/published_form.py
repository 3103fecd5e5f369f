"""What AppConfig is given of a policy: its document as JSON, value for value as it was written.

Not the compiled form: `policies.parse` reads this one as it reads YAML, with its lines and all its
checks, AppConfig's JSON Schema is that of documents, and who looks at a version there sees the
words of who wrote it. Comments are lost: the file with them stays where it is kept, and the hash
that a version notes is that file's too.

* yamlfile.Invalid   the document can't be said in JSON, or not in the bytes that AppConfig takes;
                     or it asks for a canary
"""

import json
from typing import Final

import yamlfile
from policies.names import Names
from policies.parse import load
from yamlfile import Invalid, Problem

NO_CANARY: Final = (
    "canary: on AppConfig a policy goes out by steps, and an alarm takes it back: remove `canary`, "
    "and publish the other policy by a linear strategy"
)
MOST_BYTES: Final = 1_000_000  # a hosted configuration may have 1 MB


def published_form(text: str, name: str, names: Names) -> tuple[str, str, str]:
    """Return the JSON, and the policy's name and hash; raise yamlfile.Invalid."""
    document, policy = load(text, name, names)
    if policy.canary is not None:
        raise document.invalid([(("canary",), NO_CANARY)])
    said = json.dumps(document.value, indent=1, ensure_ascii=False) + "\n"
    try:
        again = load(said, name, names)[1]
    except yamlfile.Invalid as exc:
        told = [f"as JSON it can't be read again: {problem.message}" for problem in exc.problems]
        raise Invalid(Problem(f"{name}:1", one) for one in told) from None
    size = len(said.encode())
    if again.hash != policy.hash or size > MOST_BYTES:
        why = "as JSON it would mean something else"
        if size > MOST_BYTES:
            why = f"as JSON it has {size:,} bytes, and AppConfig takes {MOST_BYTES:,}"
        raise Invalid([Problem(f"{name}:1", why)])
    return said, policy.name, policy.hash
