"""The files of batches: their bytes are objects of S3, what is known of them is in the table."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, Final

import orjson

from router.batches.aws_rows import ANYHOW, DUE, NEW, ONE, THERE, ordered, translated
from router.batches.port import Asked, File, Page, QuotaSpent, StoreUnavailable
from router.ledger.dynamo_table import Item, Key, Table, Unmet
from router.runtime import LOG
from router.s3 import PART_BYTES, Bucket

PIECE_BYTES: Final = 1 << 20
UNFINISHED_S: Final = 3600  # an upload ends long before: a function of Lambda in 15 minutes
_ROOM: Final = "attribute_not_exists(#used) OR #used <= :room"


class AwsFiles:
    """The port `Files`. `now`: seconds since 1970; `quota`: the bytes of a tenant."""

    def __init__(self, table: Table, bucket: Bucket, now: Callable[[], float], quota: int) -> None:
        self._table, self._bucket, self._now, self._quota = table, bucket, now, quota

    def begin(self, file: File) -> "AwsUpload":
        until_s = self._now() + UNFINISHED_S
        with translated("files"):
            self._take(file, {**_due(file, until_s), "begun": True})
        return AwsUpload(self, file, until_s)

    def find(self, file_id: str) -> File | None:
        with translated("files"):
            found = self._table.get((f"BFILE#{file_id}", ONE))
        file = _file(found) if found else None
        return file if file is not None and file.expires_s > self._now() else None

    def page(self, asked: Asked) -> Page[File]:
        condition, values = "#pk = :pk", {"pk": f"BFILES#{asked.tenant}"}
        with translated("files"):
            if asked.after is not None:
                last = self._table.get((f"BFILE#{asked.after}", ONE))
                if not last or (file := _file(last)).tenant != asked.tenant:
                    return Page((), more=False)
                condition += f" AND #sk {'>' if asked.oldest_first else '<'} :after"
                values["after"] = ordered(file.created_s, file.id)
            rows = self._wanted(asked, condition, values)
        return Page(rows[: asked.limit], more=len(rows) > asked.limit)

    def _wanted(self, asked: Asked, condition: str, values: Item) -> list[File]:
        """Return one more than are asked for, if there are."""
        rows: list[File] = []
        backwards = not asked.oldest_first
        for item in self._table.query(condition, values, backwards=backwards, page=asked.limit + 1):
            file = _file(item)
            if file.expires_s > self._now() and asked.purpose in (None, file.purpose):
                rows.append(file)
                if len(rows) > asked.limit:
                    break
        return rows

    def read(self, file: File, begin: int = 0, length: int | None = None) -> Iterator[bytes]:
        end = file.bytes if length is None else min(file.bytes, begin + length)
        while begin < end:
            count = min(PIECE_BYTES, end - begin)
            with translated("files"):
                piece = self._bucket.read(_object(file), begin, count)
            begin += count
            yield piece

    def remove(self, file: File) -> bool:
        with translated("files"):
            return self._remove(file, ordered(file.expires_s, file.id))

    def sweep(self, now_s: float) -> int:
        """Remove those that are due; return how many."""
        removed, failed = 0, list[StoreUnavailable]()
        with translated("files"):
            before = ordered(now_s + 1, "")
            due = self._table.query("#pk = :pk AND #sk < :before", {"pk": DUE, "before": before})
            items = list(due)
        for item in items:
            remove = self._never_finished if "begun" in item else self._remove
            try:
                with translated("files"):
                    removed += remove(_file(item), item["sk"])
            except StoreUnavailable as exc:  # the others go all the same
                failed.append(exc)
        if failed:
            LOG.error("%d files could not be removed: %s", len(failed), failed[0])
        return removed

    def put(self, file: File, until_s: float, most_bytes: int) -> None:
        """Keep what is known of a file whose object is there now, in place of its beginning."""
        table, row = self._table, _row(file)
        index = (f"BFILES#{file.tenant}", ordered(file.created_s, file.id))
        table.transact(
            [
                table.deleting((DUE, ordered(until_s, file.id)), THERE, {}),
                table.putting(_item((f"BFILE#{file.id}", ONE), row), NEW, {}),
                table.putting(_item(index, row), NEW, {}),
                table.putting(_due(file, file.expires_s), NEW, {}),
                self._using(file.tenant, file.bytes - most_bytes),
            ]
        )

    def give_up(self, file: File, until_s: float) -> None:
        """Forget a file that was begun; the whole one of its id, if there is one, stays."""
        table = self._table
        pending = table.deleting((DUE, ordered(until_s, file.id)), THERE, {})
        with contextlib.suppress(Unmet):
            table.transact([pending, self._using(file.tenant, -file.bytes)])

    def _never_finished(self, file: File, due: str) -> bool:
        self.give_up(file, int(due.partition("#")[0]))
        there = bool(self._table.get((f"BFILE#{file.id}", ONE)))
        if not there:
            self._bucket.delete(_object(file))
        return not there

    def _take(self, file: File, pending: Item) -> None:
        """Count the file's bytes, and note that it was begun. Raises QuotaSpent."""
        room = self._quota - file.bytes
        using = self._using(file.tenant, file.bytes)
        if file.purpose != "batch_output":
            key, values = (f"BQUOTA#{file.tenant}", ONE), {"more": file.bytes, "room": room}
            if room < 0:
                raise QuotaSpent(int(self._table.get(key).get("used", 0)), self._quota)
            using = self._table.updating(key, "ADD #used :more", _ROOM, values)
        try:
            self._table.transact([using, self._table.putting(pending, ANYHOW, {})])
        except Unmet as unmet:
            used = unmet.old.get(0, {}).get("used", 0)
            raise QuotaSpent(int(used), self._quota) from None

    def _remove(self, file: File, due: str) -> bool:
        """Remove it with all that is known of it; False: it was not there any more."""
        table = self._table
        index = (f"BFILES#{file.tenant}", ordered(file.created_s, file.id))
        try:
            table.transact(
                [
                    table.deleting((DUE, due), THERE, {}),
                    self._using(file.tenant, -file.bytes),
                    *(table.deleting(key, ANYHOW, {})
                      for key in ((f"BFILE#{file.id}", ONE), index)),
                ]
            )  # fmt: skip
        except Unmet:
            return False
        self._bucket.delete(_object(file))  # one that stays goes with the bucket's own rule
        return True

    def _using(self, tenant: str, more: int) -> Item:
        key = (f"BQUOTA#{tenant}", ONE)
        return self._table.updating(key, "ADD #used :more", ANYHOW, {"more": more})

    @property
    def bucket(self) -> Bucket:
        return self._bucket


class AwsUpload:
    """The port `Upload`: one object, in parts if it is large."""

    def __init__(self, files: AwsFiles, file: File, until_s: float) -> None:
        self._files, self._file, self._until_s = files, file, until_s
        self._key = _object(file)
        self._left, self._bytes = bytearray(), 0
        self._upload: str | None = None
        self._tags: list[str] = []
        self._ended = False

    def write(self, part: bytes) -> None:
        self._left += part
        self._bytes += len(part)
        while len(self._left) >= PART_BYTES:
            whole = bytes(self._left[:PART_BYTES])
            del self._left[:PART_BYTES]
            with translated("files"):
                self._put(whole)

    def done(self, filename: str, expires_s: int | None = None) -> File:
        made = self._made_before()
        if made is not None:
            return made
        ends_s = self._file.expires_s if expires_s is None else expires_s
        file = replace(self._file, bytes=self._bytes, filename=filename, expires_s=ends_s)
        with translated("files"):
            if self._upload is None:
                self._files.bucket.put(self._key, bytes(self._left))
            else:
                if self._left:
                    self._put(bytes(self._left))
                self._files.bucket.finish(self._key, self._upload, self._tags)
            self._files.put(file, self._until_s, self._file.bytes)
        self._ended = True
        return file

    def _made_before(self) -> File | None:
        """Return the file that somebody else has made meanwhile, of the same results: his stays.
        Looked for after the last result was read: he forgets them once it is there.
        """
        found = self._files.find(self._file.id)
        if found is not None:
            self.drop()
        return found

    def drop(self) -> None:
        if self._ended:
            return
        self._ended = True
        with translated("files"):
            if self._upload is not None:
                self._files.bucket.abort(self._key, self._upload)
            self._files.give_up(self._file, self._until_s)

    def _put(self, part: bytes) -> None:
        if self._upload is None:
            self._upload = self._files.bucket.begin(self._key)
        number = len(self._tags) + 1
        self._tags.append(self._files.bucket.part(self._key, self._upload, number, part))


def _object(file: File) -> str:
    return f"files/{file.id}"


def _row(file: File) -> str:
    return orjson.dumps(asdict(file)).decode()


def _item(key: Key, row: str) -> Item:
    return {"pk": key[0], "sk": key[1], "row": row}


def _due(file: File, at_s: float) -> Item:
    return _item((DUE, ordered(at_s, file.id)), _row(file))


def _file(item: Item) -> File:
    row: dict[str, Any] = orjson.loads(item["row"])
    return File(**row)
