"""One upload: from the connection to the store in pieces, whole or not at all."""

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from router.batches.hands import Hands
from router.batches.multipart import FORM_BYTES, Form
from router.batches.port import File, Store
from router.batches.port import Upload as Writing
from router.batches.query import expiry_of
from router.errors import Refusal
from router.http import Http

TOO_SLOW: Final = 408


@dataclass(slots=True)
class Upload:
    """`empty`: the file as it will be, but for its name and bytes."""

    store: Store
    http: Http
    empty: File
    hands: Hands
    _bytes: int = 0
    _held: list[bytes] = field(default_factory=list)

    async def taken(self) -> File:
        """Return the file once it is kept. Raises Refusal, HungUp or one of the port's errors."""
        form = Form(self.http.headers.get(b"content-type", b""), self._held.append)
        told = self.http.headers.get(b"content-length", b"")
        most = self.store.most_bytes
        if told.isdigit():
            if int(told) > most + FORM_BYTES:
                await self.http.read_on(2 * most)
                raise self._too_large()
            most = min(most, int(told))
        writing = await self.hands.do(
            partial(self.store.files.begin, replace(self.empty, bytes=most))
        )
        try:
            return await self._read(form, writing)
        except Refusal as refusal:
            if refusal.status != TOO_SLOW:
                await self.http.read_on(2 * most)  # so that its sender sees the answer
            raise
        finally:
            await asyncio.shield(self.hands.do(writing.drop))

    async def _read(self, form: Form, writing: Writing) -> File:
        async for piece in self.http.pieces():
            for _ in form.feed(piece):
                await self._write(writing)
                await asyncio.sleep(0)
        form.close()
        assert form.filename is not None
        self._check(form)
        whole = partial(writing.done, form.filename, self._expires_s(form))
        return await self.hands.do(whole)

    async def _write(self, writing: Writing) -> None:
        part = b"".join(self._held)
        self._held.clear()
        self._bytes += len(part)
        if self._bytes > self.store.most_bytes:
            raise self._too_large()
        if self.store.remote:
            await self.hands.do(partial(writing.write, part))
        else:
            writing.write(part)

    def _check(self, form: Form) -> None:
        purpose = form.fields.get("purpose")
        if purpose != "batch":
            said = "`purpose` must be `batch`: files are kept for batches alone"
            raise Refusal(400, said, "invalid_request", "purpose")
        if not self._bytes:
            raise Refusal(400, "the file is empty", "invalid_request", "file")

    def _expires_s(self, form: Form) -> int | None:
        given = {
            name.removeprefix("expires_after[").removesuffix("]"): value
            for name, value in form.fields.items()
            if name != "purpose"
        }
        if not given:
            return None
        seconds = given.get("seconds", "")
        whole = seconds.isascii() and seconds.isdigit()
        after = {**given, "seconds": int(seconds) if whole else None}
        return self.empty.created_s + expiry_of(after, "expires_after")

    def _too_large(self) -> Refusal:
        said = f"the file is larger than {self.store.most_bytes:,} bytes: split it"
        close = ((b"connection", b"close"),)
        return Refusal(413, said, "file_too_large", "file", headers=close)
