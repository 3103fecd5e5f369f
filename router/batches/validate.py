"""An input file's lines, or every mistake in it with its line's number. Pure, one line at a time.

A line is {"custom_id", "method": "POST", "url", "body"}. What its body asks for is judged as for
any request, when it is sent: that is an answer of the line, no mistake of the file.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from router import wire
from router.batches.port import Line, Mistake
from router.errors import Refusal

ENDPOINTS: Final = ("/v1/chat/completions",)
MOST_LINES: Final = 50_000
MOST_BLANK: Final = 100_000  # lines: each is looked at
MOST_LINE_BYTES: Final = 6_000_000  # as of a request's body, router.http.BODY_LIMIT_BYTES
MOST_MISTAKES: Final = 100  # that are told; reading ends there
ID_CHARACTERS: Final = 512
NAME_CHARACTERS: Final = 60  # of a field's name that is told
FIELDS: Final = ("custom_id", "method", "url", "body")
_BOM: Final = b"\xef\xbb\xbf"


def lines_of(pieces: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield each line's number, offset and bytes without its end, of a file that comes in pieces.
    One longer than MOST_LINE_BYTES is cut there, one byte too long.
    """
    number, offset, held, dropped = 1, 0, b"", 0
    for piece in pieces:
        *whole, rest = (held + piece).split(b"\n")
        for line in whole:
            yield number, offset, line[: MOST_LINE_BYTES + 1]
            number, offset, dropped = number + 1, offset + len(line) + dropped + 1, 0
        held = rest[: MOST_LINE_BYTES + 1]
        dropped += len(rest) - len(held)
    if held:
        yield number, offset, held


@dataclass(slots=True)
class Checker:
    """Checks the lines of one file, for a batch of this endpoint. `mistakes` grows."""

    endpoint: str
    most_lines: int = MOST_LINES
    mistakes: list[Mistake] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict)

    def lines(self, pieces: Iterable[bytes]) -> Iterator[Line]:
        """Yield the lines that are good; with any mistake none of them is to be sent."""
        blank = 0
        for number, offset, raw in lines_of(pieces):
            if len(self.mistakes) >= MOST_MISTAKES:
                return
            skipped = len(_BOM) if number == 1 and raw.startswith(_BOM) else 0
            text = raw[skipped:].removesuffix(b"\r")
            if not text.strip():
                blank += 1
                if blank > MOST_BLANK:
                    said = f"the file has more than {MOST_BLANK:,} blank lines"
                    self.mistakes.append(Mistake("too_many_blank_lines", said, number))
                    return
                continue
            if len(self._ids) >= self.most_lines:
                said = f"the file has more than {self.most_lines:,} requests"
                self.mistakes.append(Mistake("too_many_requests", said, number))
                return
            found = self._checked(number, text)
            if isinstance(found, Mistake):
                self.mistakes.append(found)
            else:
                yield Line(number, found, offset + skipped, len(text))
        if not self._ids and not self.mistakes:
            self.mistakes.append(Mistake("empty_file", "the file has no request"))

    def _checked(self, number: int, text: bytes) -> str | Mistake:
        """Return its custom_id."""
        if len(text) > MOST_LINE_BYTES:
            said = f"the line is longer than {MOST_LINE_BYTES:,} bytes"
            return Mistake("line_too_long", said, number)
        try:
            row = wire.json_object(text)
        except Refusal as refusal:
            said = refusal.message.replace("the body", "the line", 1)
            return Mistake("invalid_json_line", said, number)
        for name, wrong in (
            (next(iter(sorted(row.keys() - set(FIELDS))), None), _unknown),
            ("custom_id", _custom_id),
            ("method", _method),
            ("url", self._url),
            ("body", _body),
        ):
            told = wrong(row, name) if name is not None else None
            if told is not None:
                code, message = told
                return Mistake(code, message, number, name and name[:NAME_CHARACTERS])
        custom_id: str = row["custom_id"]
        first = self._ids.setdefault(custom_id, number)
        if first != number:
            said = f"`custom_id` is the same as on line {first}"
            return Mistake("duplicate_custom_id", said, number, "custom_id")
        return custom_id

    def _url(self, row: Mapping[str, Any], _name: str) -> tuple[str, str] | None:
        if row.get("url") == self.endpoint:
            return None
        return "mismatched_endpoint", f"`url` must be the batch's endpoint, `{self.endpoint}`"


def body_of(text: bytes) -> bytes:
    """Return the request body of a line that is good, as JSON."""
    return wire.json_bytes(wire.json_object(text)["body"])


def _unknown(_row: Mapping[str, Any], name: str) -> tuple[str, str]:
    return "unknown_field", f"unknown field `{name[:NAME_CHARACTERS]}` (known: {', '.join(FIELDS)})"


def _custom_id(row: Mapping[str, Any], _name: str) -> tuple[str, str] | None:
    value = row.get("custom_id")
    if isinstance(value, str) and 0 < len(value) <= ID_CHARACTERS:
        return None
    return "invalid_custom_id", f"`custom_id` must be a text of 1 to {ID_CHARACTERS} characters"


def _method(row: Mapping[str, Any], _name: str) -> tuple[str, str] | None:
    return None if row.get("method") == "POST" else ("invalid_method", "`method` must be `POST`")


def _body(row: Mapping[str, Any], _name: str) -> tuple[str, str] | None:
    body = row.get("body")
    if not isinstance(body, dict):
        return "invalid_body", "`body` must be an object: what would be sent to `url`"
    if body.get("stream"):
        return "stream_not_allowed", "`stream: true` can't be in a batch: its answers are files"
    return None
