"""``/v1/files`` and ``/v1/batches``: what the OpenAI Batch API has, for the tenant of a key.

Files and batches are the tenant's: every key of it sees them, to all others they don't exist.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from router import wire
from router.batches import forms, states
from router.batches.hands import Hands
from router.batches.port import (
    ENDED,
    MOST_BATCHES,
    Asked,
    Batch,
    Counts,
    File,
    QuotaSpent,
    Store,
    StoreFull,
    StoreUnavailable,
    TooManyBatches,
)
from router.batches.query import asked_of, expiry_of
from router.batches.upload import Upload
from router.batches.validate import ENDPOINTS
from router.doors import Places
from router.errors import Refusal
from router.http import Http, HungUp
from router.identity import Key
from router.runtime import LOG

T = TypeVar("T")
FILES: Final = "/v1/files"
BATCHES: Final = "/v1/batches"
HOUR_S: Final = 3600
MOST_HOURS: Final = 72
MOST_TRANSFERS: Final = (4, 16)  # uploads at once of a tenant, and in all; as many downloads
MOST_FILES: Final = 10_000  # on a page, as OpenAI has it
MOST_ON_PAGE: Final = 100
METADATA: Final = (16, 64, 512)  # pairs, characters of a name, of a value
_WINDOW: Final = re.compile(r"([1-9][0-9]?)h")
BATCH_FIELDS: Final = (
    "input_file_id",
    "endpoint",
    "completion_window",
    "metadata",
    "output_expires_after",
)
_JSONL: Final = (b"content-type", b"application/jsonl; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Who:
    """`kept`: the key is one of ours, which may be looked up again."""

    key: Key
    kept: bool


@dataclass(frozen=True, slots=True)
class Batching:
    """`keep_s`: how long files are kept. `new_id`: random, 24 hex digits. `wake` is called where
    there is something new to do.
    """

    store: Store
    keep_s: int
    now: Callable[[], float]
    new_id: Callable[[], str]
    wake: Callable[[], None]
    hands: Hands
    uploads: Places = field(default_factory=partial(Places, "uploads", *MOST_TRANSFERS))
    downloads: Places = field(default_factory=partial(Places, "downloads", *MOST_TRANSFERS))

    async def answer(self, http: Http, who: Who) -> None:
        """Answer any request of these paths. Raises Refusal or HungUp."""
        given, method, handler = _route(http)
        if method == "POST":
            _no_hints(http)
        try:
            await handler(self, http, who, given)
        except QuotaSpent as exc:
            said = (
                f"the files of this tenant have {exc.used:,} of the {exc.most:,} bytes that it may "
                "have: delete some"
            )
            raise Refusal(413, said, "storage_quota_exceeded") from None
        except StoreFull as exc:
            LOG.error("files and batches: %s", exc)
            raise Refusal(507, "no room is left for files: nothing was kept", "disk_full") from None
        except StoreUnavailable as exc:
            LOG.error("files and batches: %s", exc)
            again = ((b"retry-after", b"2"),)
            said = "the store of files and batches can't be used now: try again"
            raise Refusal(503, said, "store_unavailable", headers=again) from None

    # -- files -------------------------------------------------------------------------------------

    async def upload(self, http: Http, who: Who, _given: str) -> None:
        now_s = int(self.now())
        empty = File(
            f"file-{self.new_id()}",
            who.key.tenant,
            who.key.id,
            "batch",
            "",
            0,
            now_s,
            now_s + self.keep_s,
        )
        with self.uploads.place(who.key.tenant):
            file = await Upload(self.store, http, empty, self.hands).taken()
        await _send(http, forms.file_json(file))

    async def list_files(self, http: Http, who: Who, _given: str) -> None:
        asked = asked_of(http.query, who.key.tenant, MOST_FILES, MOST_FILES, files=True)
        page = await self._do(lambda: self.store.files.page(asked))
        rows = [forms.file_json(file) for file in page.rows]
        await http.answer(200, forms.page_json(rows, more=page.more))

    async def show_file(self, http: Http, who: Who, given: str) -> None:
        await _send(http, forms.file_json(await self._file(given, who)))

    async def content(self, http: Http, who: Who, given: str) -> None:
        file = await self._file(given, who)
        with self.downloads.place(who.key.tenant):
            await self._send_file(http, file)

    async def _send_file(self, http: Http, file: File) -> None:
        pieces = self.store.files.read(file)
        first = await self._do(lambda: next(pieces, b""))  # what is wrong is told before the head
        await http.start_file([_JSONL, (b"content-length", b"%d" % file.bytes)])
        piece = first
        try:
            while piece:
                await http.file_piece(piece)
                piece = await self._do(lambda: next(pieces, b""))
        except (StoreFull, StoreUnavailable) as exc:
            LOG.error("a file broke off: %s", exc)
            raise HungUp from None  # its length was told: the caller sees that it is not whole
        await http.end_stream()

    async def delete(self, http: Http, who: Who, given: str) -> None:
        file = await self._file(given, who)
        reader = await self._do(lambda: self.store.batches.reader_of(file))
        if reader is not None:
            said = f"`{reader}` still reads this file: cancel it, or wait for its end"
            raise Refusal(409, said, "file_in_use")
        await self._do(lambda: self.store.files.remove(file))
        await _send(http, {"id": file.id, "object": "file", "deleted": True})

    # -- batches -----------------------------------------------------------------------------------

    async def create(self, http: Http, who: Who, _given: str) -> None:
        body = wire.json_object(await http.body())
        batch = _batch_of(body, who, f"batch_{self.new_id()}", int(self.now()), self.keep_s)
        source = await self._do(lambda: self.store.files.find(batch.input_file_id))
        if source is None or source.tenant != who.key.tenant:
            raise _no_file("input_file_id")
        if source.purpose != "batch":
            _wrong("input_file_id", "`input_file_id` must be a file of purpose `batch`")
        if source.expires_s < batch.expires_s:
            _wrong("input_file_id", "the input file expires before the batch's completion window")
        try:
            await self._do(lambda: self.store.batches.add(batch))
        except TooManyBatches:
            said = f"this tenant has {MOST_BATCHES} batches that are not over: wait for one, or "
            again = ((b"retry-after", b"60"),)
            raise Refusal(429, f"{said}cancel", "too_many_batches", headers=again) from None
        self.wake()
        await _send(http, forms.batch_json(batch, Counts()))

    async def list_batches(self, http: Http, who: Who, _given: str) -> None:
        asked: Asked = asked_of(http.query, who.key.tenant, 20, MOST_ON_PAGE, files=False)
        page = await self._do(lambda: self.store.batches.page(asked))
        rows = [forms.batch_json(batch, await self._counts(batch)) for batch in page.rows]
        await http.answer(200, forms.page_json(rows, more=page.more))

    async def show_batch(self, http: Http, who: Who, given: str) -> None:
        await self._send_batch(http, await self._batch(given, who))

    async def cancel(self, http: Http, who: Who, given: str) -> None:
        batch = await self._batch(given, who)
        if batch.status in ENDED:
            raise Refusal(409, f"this batch is over: it is {batch.status}", "batch_over")
        to = states.cancelled_by_caller(self.now())
        changed = await self._do(lambda: self.store.batches.change(batch.id, to))
        self.wake()
        await self._send_batch(http, changed or batch)

    # -- their parts -------------------------------------------------------------------------------

    async def _send_batch(self, http: Http, batch: Batch) -> None:
        await _send(http, forms.batch_json(batch, await self._counts(batch)))

    async def _counts(self, batch: Batch) -> Counts:
        """Return its counts as they are now; while it is validated nobody knows how many it has."""
        if batch.status in ENDED or batch.status == "validating":
            return batch.counts
        counts = await self._do(lambda: self.store.queue.counts(batch.id))
        return replace(counts, total=max(counts.total, batch.counts.total))

    async def _file(self, file_id: str, who: Who) -> File:
        file = await self._do(lambda: self.store.files.find(file_id))
        if file is None or file.tenant != who.key.tenant:
            raise _no_file()
        return file

    async def _batch(self, batch_id: str, who: Who) -> Batch:
        batch = await self._do(lambda: self.store.batches.find(batch_id))
        if batch is None or batch.tenant != who.key.tenant:
            raise _no_batch()
        return batch

    async def _do(self, call: Callable[[], T]) -> T:
        return await self.hands.do(call)


Handler = Callable[[Batching, Http, Who, str], Awaitable[None]]
ROUTES: Final[tuple[tuple[re.Pattern[str], Mapping[str, Handler]], ...]] = (
    (re.compile(FILES), {"POST": Batching.upload, "GET": Batching.list_files}),
    (re.compile(rf"{FILES}/([^/]+)"), {"GET": Batching.show_file, "DELETE": Batching.delete}),
    (re.compile(rf"{FILES}/([^/]+)/content"), {"GET": Batching.content}),
    (re.compile(BATCHES), {"POST": Batching.create, "GET": Batching.list_batches}),
    (re.compile(rf"{BATCHES}/([^/]+)"), {"GET": Batching.show_batch}),
    (re.compile(rf"{BATCHES}/([^/]+)/cancel"), {"POST": Batching.cancel}),
)


def is_ours(path: str) -> bool:
    return path.startswith((FILES, BATCHES)) and any(p.fullmatch(path) for p, _ in ROUTES)


def _route(http: Http) -> tuple[str, str, Handler]:
    """Return the id in the path, the method and what answers. Raises Refusal."""
    for pattern, handlers in ROUTES:
        found = pattern.fullmatch(http.path)
        if found is None:
            continue
        handler = handlers.get(http.method)
        if handler is None:
            methods = ", ".join(handlers)
            allow = ((b"allow", methods.encode()),)
            raise Refusal(405, f"this path takes {methods}", "method_not_allowed", headers=allow)
        return next(iter(found.groups()), ""), http.method, handler
    raise AssertionError(http.path)  # `is_ours` was asked


def _batch_of(body: Mapping[str, Any], who: Who, batch_id: str, now_s: int, keep_s: int) -> Batch:
    """Return the batch that a body asks for, or raise Refusal(400) naming the field."""
    unknown = sorted(body.keys() - set(BATCH_FIELDS))
    if unknown:
        known = ", ".join(BATCH_FIELDS)
        _wrong(unknown[0][:60], f"unknown field `{unknown[0][:60]}` (known: {known})")
    source = body.get("input_file_id")
    if not isinstance(source, str):
        _wrong("input_file_id", "`input_file_id` must be the id of a file")
    if body.get("endpoint") not in ENDPOINTS:
        known = ", ".join(f"`{endpoint}`" for endpoint in ENDPOINTS)
        _wrong("endpoint", f"`endpoint` must be {known}")
    window = body.get("completion_window")
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None
    if found is None or int(found[1]) > MOST_HOURS:
        said = f"`completion_window` must be `1h` to `{MOST_HOURS}h`, in whole hours, as `24h`"
        _wrong("completion_window", said)
    window_s = int(found[1]) * HOUR_S
    after = body.get("output_expires_after")
    return Batch(
        id=batch_id,
        key=who.key,
        kept=who.kept,
        input_file_id=source,
        endpoint=body["endpoint"],
        window_s=window_s,
        metadata=_metadata(body.get("metadata")),
        created_s=now_s,
        expires_s=now_s + window_s,
        files_s=keep_s if after is None else expiry_of(after, "output_expires_after"),
    )


def _metadata(given: Any) -> Mapping[str, str]:  # noqa: ANN401  (what JSON has there)
    pairs, name_characters, characters = METADATA
    found = {} if given is None else given
    if (
        not isinstance(found, dict)
        or len(found) > pairs
        or not all(
            isinstance(value, str) and len(value) <= characters and 0 < len(name) <= name_characters
            for name, value in found.items()
        )
    ):
        _wrong(
            "metadata",
            f"`metadata` must be an object of at most {pairs} texts of at most {characters} "
            f"characters, with names of 1 to {name_characters}",
        )
    return found


def _no_hints(http: Http) -> None:
    """Refuse what is said of single requests: a batch's lines would not heed it."""
    for name in http.headers:
        if name == b"idempotency-key" or (
            name.startswith(b"x-sluice-") and name != b"x-sluice-key"
        ):
            header = name.decode("latin-1")[:60]
            _wrong(header, f"`{header}` goes with a single request, not with files and batches")


async def _send(http: Http, row: forms.Json) -> None:
    await http.answer(200, wire.json_bytes(row))


def _no_file(param: str | None = None) -> Refusal:
    return Refusal(404, "no file of this tenant has this id", "file_not_found", param)


def _no_batch() -> Refusal:
    return Refusal(404, "no batch of this tenant has this id", "batch_not_found")


def _wrong(param: str, message: str) -> NoReturn:
    raise Refusal(400, message, "invalid_request", param)
