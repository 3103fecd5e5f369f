"""The form of an upload (multipart/form-data), read as it comes: one file and short fields."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from router.errors import Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartParser

FIELDS: Final = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
MOST_FIELD_BYTES: Final = 256
FORM_BYTES: Final = 8192  # of a form beside its file: headers, fields, boundaries
STEP_BYTES: Final = 16_384  # read in one go
MOST_NAME: Final = 255  # characters of a file's name


@dataclass(slots=True)
class Form:
    """`write` is told of the file's bytes as they come. `fields` and `filename` are whole once
    `close` returned. Raises Refusal (400).
    """

    content_type: bytes
    write: Callable[[bytes], None]
    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    _parser: "MultipartParser" = field(init=False)
    _name: str = ""
    _head: tuple[bytes, bytes] = (b"", b"")
    _disposition: bytes = b""
    _value: bytes = b""
    _ended: bool = False
    _beside: int = 0  # bytes that are not the file's

    def __post_init__(self) -> None:
        from python_multipart.multipart import (  # noqa: PLC0415  (only if used)
            MultipartParser,
            parse_options_header,
        )

        kind, options = parse_options_header(self.content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _wrong("a file comes as `multipart/form-data`, with its boundary", "content-type")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, a, b: self._header(data[a:b], b""),
                "on_header_value": lambda data, a, b: self._header(b"", data[a:b]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda data, a, b: self._part(data[a:b]),
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def feed(self, piece: bytes) -> Iterator[None]:
        """Read a piece in steps: between them others have their turn."""
        for begin in range(0, len(piece), STEP_BYTES):
            self._step(piece[begin : begin + STEP_BYTES])
            yield

    def _step(self, part: bytes) -> None:
        from python_multipart.exceptions import FormParserError  # noqa: PLC0415  (only if used)

        self._beside += len(part)
        try:
            self._parser.write(part)
        except FormParserError:
            raise _wrong("the form can't be read: it is not `multipart/form-data`") from None
        # A step may end within the file: what is not yet known to be of it is less than a boundary.
        if self._beside > FORM_BYTES:
            raise _wrong(f"the form has more than {FORM_BYTES:,} bytes beside its file")

    def close(self) -> None:
        """Check that it came to its end, and has a file."""
        if not self._ended:
            raise _wrong("the form breaks off before its last boundary")
        if self.filename is None:
            raise _wrong("`file` is missing: the file to upload", "file")

    def _begin(self) -> None:
        self._name, self._head, self._disposition, self._value = "", (b"", b""), b"", b""

    def _header(self, name: bytes, value: bytes) -> None:
        self._head = (self._head[0] + name, self._head[1] + value)

    def _header_end(self) -> None:
        if self._head[0].lower() == b"content-disposition":
            self._disposition = self._head[1]
        self._head = (b"", b"")

    def _headers_end(self) -> None:
        from python_multipart.multipart import parse_options_header  # noqa: PLC0415  (only if used)

        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self.filename is not None:
                raise _wrong("one `file` at a time", "file")
            self.filename = _file_name(options)
        elif self._name not in FIELDS:
            known = ", ".join(("file", *FIELDS))
            raise _wrong(f"unknown field `{self._name[:60]}` (known: {known})", self._name[:60])

    def _part(self, data: bytes) -> None:
        if self._name == "file":
            self._beside -= len(data)
            self.write(data)
            return
        self._value += data
        if len(self._value) > MOST_FIELD_BYTES:
            raise _wrong(f"`{self._name}` is longer than {MOST_FIELD_BYTES} bytes", self._name)

    def _end(self) -> None:
        if self._name != "file":
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _finish(self) -> None:
        self._ended = True


def _file_name(options: Mapping[bytes, bytes]) -> str:
    """Return the name as it is shown again: nothing is ever stored under it."""
    text = options.get(b"filename", b"").decode("utf-8", "replace")
    plain = "".join(c if c.isprintable() else "_" for c in text.rpartition("/")[2])
    return plain[:MOST_NAME] or "file.jsonl"


def _wrong(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, message, "invalid_request", param)
