"""A YAML file checked against its JSON Schema, with the line of every value.

Policies, catalogues, price books and profiles are read through here, so that every mistake in
one of them is told as ``file:line: where: what is wrong (what would be valid)``, all at once.

YAML is read by the 1.2 core rules: ``off`` and ``no`` are texts, ``22:00`` is not a number. Twice
the same key is refused; so are anchors and tags (a file that expands to gigabytes is no policy),
numbers that JSON can't hold, and nesting deeper than any of our files.

* Invalid      the text is at fault: every problem that was found
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

Path = tuple[str | int, ...]
Fault = tuple[Path, str]
"""Where a document is wrong, and what is wrong there."""
Value = Any  # what JSON can hold
Event = Any  # a yaml.Event of any kind; their stubs leave every position optional
Mark = Any  # a yaml.Mark; without stubs of their own
Error = Any  # a ValidationError; its stubs leave every field optional

MAX_DEPTH = 40  # mappings and lists inside one another
MAX_DIGITS = 40  # of a whole number; longer ones are typing mistakes, and Python refuses 4,300
SHOWN = 60  # characters of a wrong value that a message repeats

# What an input method for Chinese puts in the place of what is meant; U+FF01 to U+FF5E are ASCII in
# full width.
_TYPED: Mapping[str, str] = {
    "“": '"', "”": '"', "‘": "'", "’": "'", "、": ",", "。": ".", "【": "[", "】": "]", "《": "<",
    "》": ">", "「": '"', "」": '"', "≥": ">=", "≤": "<=", "—": "-", "\u3000": " ",
}  # fmt: skip
_TO_ASCII = 0xFEE0  # from a full-width sign
_FULL_WIDTH = re.compile(f"[\uff01-\uff5e{''.join(_TYPED)}]")
_QUOTED = re.compile(r"""(?:"[^"]*"|'[^']*'|(?:^|\s)#.*)""")
_SIMPLIFIED, _TRADITIONAL = {"hans", "cn", "sg", "my", "chs"}, {"hant", "tw", "hk", "mo", "cht"}

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 10 times faster where libyaml is built in

_CORE_SCHEMA: tuple[tuple[re.Pattern[str], Any], ...] = (  # YAML 1.2.2, section 10.3.2
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: ``where`` is ``file:line``."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class Invalid(ValueError):  # noqa: N818  (it reads as what it says: the file is invalid)
    """The text is not what its schema asks for; every problem, in the order of the lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values, and the line on which each one stands."""

    name: str
    value: Value
    lines: Mapping[Path, int]

    def line(self, *path: str | int) -> int:
        """Return the line of the value at this path, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Sequence[str | int], message: str) -> Problem:
        return Problem(f"{self.name}:{self.line(*path)}", message)

    def invalid(self, faults: Iterable[Fault]) -> Invalid:
        """Return the error that tells these faults, each one once, in the order of the lines."""
        ordered = sorted(dict.fromkeys(faults), key=lambda fault: self.line(*fault[0]))
        return Invalid(self.problem(path, message) for path, message in ordered)


def read(text: str, name: str, schema: Mapping[str, Any]) -> Document:
    """Return the document, or raise Invalid with every problem of its form."""
    document = parse(text, name)
    found = faults(document, schema)
    if found:
        raise document.invalid(found)
    return document


def faults(document: Document, schema: Mapping[str, Any]) -> list[Fault]:
    """Return every way in which the document is not of this form."""
    if document.value is None:
        return [((), "the file is empty")]
    errors = _VALIDATOR(schema).iter_errors(document.value)
    return [fault for error in errors for branch in _branches(error) for fault in _faults(branch)]


def parse(text: str, name: str) -> Document:
    """Return the values and lines of a YAML text without asking for a form."""
    try:
        tree = _Tree(yaml.parse(text, Loader=_LOADER))
        value = tree.document()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        said = " ".join(filter(None, (exc.context, exc.problem)))
        if mark and _starts_with_tab(text, mark.line):
            said = "a tab indents this line: use spaces"
        elif exc.context_mark and _has_full_width_colon(text, exc.context_mark.line):
            mark, said = exc.context_mark, full_width("：")
        elif mark and (line := _key_before(text, mark.line)) is not None:
            raise Invalid([_not_yaml(name, line, full_width("："))]) from None
        elif mark and (sign := _sign_near(text, exc.context_mark or mark, mark)):
            said = f"{said}; {full_width(sign)}"
        raise Invalid([_not_yaml(name, mark.line if mark else 0, said)]) from None
    except yaml.reader.ReaderError as exc:
        before = text.partition(chr(exc.character))[0]
        raise Invalid([_not_yaml(name, before.count("\n"), str(exc.reason))]) from None
    except UnicodeEncodeError as exc:
        before = text[: exc.start]
        raise Invalid([_not_yaml(name, before.count("\n"), "half a character")]) from None
    except _TooDeepError as exc:
        raise Invalid([_not_yaml(name, exc.line, f"more than {MAX_DEPTH} levels deep")]) from None
    if tree.problems:
        raise Invalid(Problem(f"{name}:{line}", said) for line, said in sorted(tree.problems))
    return Document(name, value, tree.lines)


def full_width(text: str) -> str:
    """Return what to write for the first sign in it that is typed in full width; "" without one."""
    found = _FULL_WIDTH.search(text)
    if found is None:
        return ""
    sign = found[0]
    if sign == "：":
        space = "" if text[found.end() : found.end() + 1].isdigit() else " and a space"
        return f"`：` is a full-width colon: write `:`{space}"
    if sign == "\u3000":
        return "U+3000 is a full-width space: write a space"
    kind = "not an ASCII character" if sign in _TYPED else "a full-width sign"
    return f"`{sign}` is {kind}: write `{_TYPED.get(sign) or chr(ord(sign) - _TO_ASCII)}`"


def suggest(word: object, known: Iterable[str]) -> str:
    """Return ``(known: a, b)``, with the likely one first where a word was mistyped."""
    known = sorted(known)
    spelt = {name.lower(): name for name in known}  # `vLLM` is near to `vllm`
    asked = str(word)[:SHOWN]
    language = language_meant(asked)
    close = difflib.get_close_matches(asked.lower(), spelt, n=1)
    likely = language if language in known else spelt[close[0]] if close else None
    start = f"did you mean `{likely}`? " if likely else ""
    typed = full_width(asked)
    typed = f"{typed}; " if typed else ""
    return f"({typed}{start}known: {', '.join(known) or 'none'})"


def language_meant(tag: str) -> str | None:
    """Return how policies call the language of a usual tag (BCP 47, a locale, or its own name)."""
    language, *more = re.split("[-_.]", tag.lower())
    if language in ("zh", "cmn"):
        script = {"hans", "hant"} & {*more} or {*more}
        return "zh-Hans" if script & _SIMPLIFIED else "zh-Hant" if script & _TRADITIONAL else "zh"
    if language in ("chinese", "mandarin") or "中文" in language or "汉语" in language:
        simplified, traditional = set("简簡") & {*language}, set("繁正") & {*language}
        return "zh-Hans" if simplified else "zh-Hant" if traditional else "zh"
    return "en" if language in ("en", "eng", "english", "英文", "英语", "英語") else None


def dotted(path: Sequence[str | int]) -> str:
    """``("rules", 3, "when")`` -> ``rules[3].when``."""
    out = ""
    for step in path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out


# ---- text -> values --------------------------------------------------------------------------


class _TooDeepError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Tree:
    """Builds plain values from parser events. libyaml's own tree builder overflows the C stack on
    deep nesting, and hides where an alias stands.
    """

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self.lines: dict[Path, int] = {}
        self.problems: list[tuple[int, str]] = []

    def document(self) -> Value:
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            self._wrong(following, "a second document starts here: one file is one document")
        return value

    def _value(self, event: Event, path: Path) -> Value:
        self.lines.setdefault(path, _line(event))
        if event.anchor is not None:  # an alias carries the name of its anchor
            self._wrong(event, "anchors and aliases are not read: write the value out")
        if isinstance(event, yaml.AliasEvent):
            return None
        if event.tag is not None:
            self._wrong(event, f"tags are not read: remove {_cut(event.tag)}")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if len(path) >= MAX_DEPTH:
            raise _TooDeepError(event.start_mark.line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _list(self, path: Path) -> list[Value]:
        found: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*path, len(found))))
        return found

    def _mapping(self, path: Path) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                self._wrong(key, "a key must be a plain text")
                self._value(key, path)
                self._value(next(self._events), path)
                continue
            name: str = key.value
            if name in found:
                self._wrong(key, f"{_cut(name)} stands here twice")
            self.lines[(*path, name)] = _line(key)
            found[name] = self._value(next(self._events), (*path, name))
        return found

    def _scalar(self, event: Event) -> Value:
        text: str = event.value
        if event.style:  # quoted, or a block
            return text
        for pattern, convert in _CORE_SCHEMA:
            if pattern.fullmatch(text):
                if convert is not float and len(text) > MAX_DIGITS:
                    break
                value = convert(text)
                if isinstance(value, float) and not math.isfinite(value):
                    break
                return value
        else:
            return text
        self._wrong(event, f"{_cut(text)} is too large a number")
        return 0

    def _wrong(self, event: Event, message: str) -> None:
        self.problems.append((_line(event), message))


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def _not_yaml(name: str, line: int, message: str) -> Problem:
    return Problem(f"{name}:{line + 1}", f"not YAML: {message}")


def _starts_with_tab(text: str, line: int) -> bool:
    lines = text.split("\n")
    return line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]


def _has_full_width_colon(text: str, line: int) -> bool:
    lines = text.split("\n")
    return line < len(lines) and "：" in lines[line] and ": " not in lines[line]


def _key_before(text: str, line: int) -> int | None:
    """Return the line before this one, but for blank ones, if a full-width colon ends a key in it:
    YAML reads on from there, and breaks off at the next key.
    """
    lines = [_QUOTED.sub("", each) for each in text.split("\n")[:line]]
    before = next((i for i in reversed(range(len(lines))) if lines[i].strip()), None)
    return (
        before if before is not None and _has_full_width_colon("\n".join(lines), before) else None
    )


def _sign_near(text: str, start: Mark, end: Mark) -> str:
    """Return the first full-width sign from where a mistake begins on, out of quotes and comments;
    "" without one.
    """
    for line in text.split("\n")[start.line : end.line + 1]:
        found = _FULL_WIDTH.search(_QUOTED.sub("", line))
        if found:
            return found[0]
    return ""


# ---- values -> what is wrong with them -------------------------------------------------------


def _matches(validator: Value, pattern: str, got: Value, _: Value) -> Iterator[Error]:
    # ECMA 262 ends a text at `$`; Python's `$` also stands before a last line break.
    python = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    if validator.is_type(got, "string") and not re.search(python, got):
        yield ValidationError(f"is not of the form {pattern}")


def _is_real(validator: Value, form: str, got: Value, _: Value) -> Iterator[Error]:
    """Check what a pattern can't: that the day of a date exists."""
    if form == "date" and validator.is_type(got, "string"):
        try:
            date.fromisoformat(got)
        except ValueError:
            yield ValidationError(f"is no {form}")


_VALIDATOR: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _matches, "format": _is_real}
)


def _branches(error: Error) -> Iterator[Error]:
    """Of the alternatives of anyOf/oneOf, follow the one that was meant."""
    branches: dict[Any, list[Error]] = {}
    for child in error.context or ():
        branches.setdefault(child.relative_schema_path[0], []).append(child)
    meant = [found for found in branches.values() if not any(map(_another_type, found))]
    if not meant:
        yield error
        return
    nearest = max(meant, key=lambda found: max(len(e.relative_path) for e in found))
    for child in nearest:
        yield from _branches(child)


def _another_type(error: Error) -> bool:
    compound = isinstance(error.instance, (dict, list))
    kinds = ("type", "enum", "const") if compound else ("type",)
    return error.validator in kinds and not error.relative_path


def _faults(error: Error) -> Iterator[Fault]:
    path = tuple(error.absolute_path)
    prefix = f"{dotted(path)}: " if path else ""
    got, want = error.instance, error.validator_value
    if error.validator == "additionalProperties" and want is False:
        known = error.schema.get("properties", {})
        for key in got:
            if key not in known:
                yield (*path, key), f"{prefix}unknown key {_shown(key)} {suggest(key, known)}"
    elif error.validator == "required":
        # the validator tells each missing key apart, but only in words
        yield from ((path, f"{prefix}`{key}` is missing") for key in want if key not in got)
    else:
        hidden = error.schema.get("writeOnly", False)
        typed = "" if hidden or error.validator in _SUGGEST else full_width(_typed(path, got))
        said = _said(error, "this value" if hidden else _shown(got))
        yield path, prefix + (f"{said} ({typed})" if typed else said)


def _said(error: Error, shown: str) -> str:
    if error.validator in _SAID:
        return _SAID[error.validator](error, shown)
    if error.validator in ("minItems", "minProperties", "minLength") and error.validator_value == 1:
        return "is empty"
    limit = f"valid here ({error.validator}: {error.validator_value})"
    return f"{shown} is not {error.schema.get('description', limit)}"


_SAID: Mapping[str, Callable[[Error, str], str]] = {
    "enum": lambda e, shown: (
        f"unknown value {shown} {suggest(e.instance, map(_text, e.validator_value))}"
    ),
    "type": lambda e, shown: f"{shown} is not {_kinds(e.validator_value)}{_valid(e)}",
    "exclusiveMinimum": lambda e, shown: f"{shown} is not above {e.validator_value}{_valid(e)}",
    "exclusiveMaximum": lambda e, shown: f"{shown} is not below {e.validator_value}{_valid(e)}",
    "minimum": lambda e, shown: f"{shown} is below {e.validator_value}{_valid(e)}",
    "maximum": lambda e, shown: f"{shown} is above {e.validator_value}{_valid(e)}",
    "uniqueItems": lambda e, _: f"{_shown(_twice(e.instance))} stands here twice",
}


def _valid(error: Error) -> str:
    """Return how a number is written, where its form says so."""
    kinds = error.schema.get("type", ())
    numeric = {"number", "integer"} & {*([kinds] if isinstance(kinds, str) else kinds)}
    said = error.schema.get("description")
    return f" (valid: {said})" if numeric and said else ""


_SUGGEST = ("enum",)  # say themselves what was typed


def _typed(path: Path, got: Value) -> str:
    if got is None and path:  # `{a： b}` is a key without a value
        return str(path[-1])[:SHOWN]
    return got[:SHOWN] if isinstance(got, str) else ""


def _twice(items: Sequence[Value]) -> Value:
    return next(item for i, item in enumerate(items) if item in items[:i])


def _kinds(names: str | Sequence[str]) -> str:
    articles = {
        "array": "a list",
        "object": "a mapping",
        "integer": "an integer",
        "string": "a text",
        "boolean": "true or false",
        "null": "null",
    }
    named = [names] if isinstance(names, str) else names
    return " or ".join(articles.get(name, f"a {name}") for name in named)


def _text(value: Value) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    quoted = isinstance(value, str) and any(form.fullmatch(value) for form, _ in _CORE_SCHEMA)
    return f'"{value}"' if quoted else str(value)


def _shown(value: Value) -> str:
    if isinstance(value, (dict, list)):  # what it holds may be long, or a secret
        return "this mapping" if isinstance(value, dict) else "this list"
    return _cut(_text(value))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return f"`{line if len(line) <= SHOWN else line[:SHOWN] + '...'}`"
