"""What is wrong with whom a budget or a rate limit is written for. Pure."""

from collections.abc import Iterator

from policies.match import ANY, IDENTITY, KEY_PREFIX, Value
from yamlfile import Fault

Path = tuple[str | int, ...]


def match_faults(match: Value, path: Path) -> Iterator[Fault]:
    """Yield what in a match could never match anybody. A secret is not repeated."""
    tags = match.get("tags", {})
    texts = [((name,), match[name]) for name in IDENTITY if name in match]
    for at, text in [*texts, *((("tags", tag), text) for tag, text in tags.items())]:
        if at == ("key",) and text.startswith(KEY_PREFIX):
            yield (*path, *at), f"a key is meant by its 8 hex digits, without `{KEY_PREFIX}`"
        elif ANY in text and text != ANY:
            said = f"`{ANY}` stands alone for any value; there are no patterns"
            yield (*path, *at), f"`{text}`: {said}"
