"""Files in ``<state>/files/``, one each, only the owner may read; their rows in batches.db."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from router.batches.local_db import Db, refused_by_disk
from router.batches.port import Asked, File, Page, QuotaSpent, StoreUnavailable

PIECE_BYTES: Final = 1 << 20
UNFINISHED_S: Final = 3600.0  # after that an upload that was not finished is gone
GONE_S: Final = 86_400.0  # for so long it is known where a removed row was: pages go on after it
PART: Final = ".part"
_COLUMNS: Final = "id, tenant, key_id, purpose, filename, bytes, created_s, expires_s"

REMEMBER: Final = (
    "INSERT OR REPLACE INTO {0}_gone (id, tenant, n, at_s) SELECT id, tenant, n, ? FROM {0}"
)
_REMEMBER: Final = REMEMBER.format("files")


class LocalFiles:
    """The port `Files`. `quota_bytes`: of a tenant's files together."""

    def __init__(self, db: Db, folder: Path, quota_bytes: int, now: Callable[[], float]) -> None:
        self._db, self._folder = db, folder
        self._quota, self._now = quota_bytes, now

    def begin(self, file: File) -> "LocalUpload":
        with self._db.writing():
            if file.purpose == "batch":
                self._refuse_beyond(file.tenant, file.bytes)
            self._insert(file, whole=False)
        try:
            return LocalUpload(self, file, self._folder / f"{file.id}{PART}")
        except OSError as exc:
            self.forget_unfinished(file.id)
            raise refused_by_disk(exc) from exc

    def find(self, file_id: str) -> File | None:
        asked = f"SELECT {_COLUMNS} FROM files WHERE id = ? AND whole AND expires_s > ?"  # noqa: S608 (our own names)
        rows = self._db.rows(asked, file_id, self._now())
        return _file(rows[0]) if rows else None

    def page(self, asked: Asked) -> Page[File]:
        where = "tenant = ? AND whole AND expires_s > ?"
        values: list[object] = [asked.tenant, self._now()]
        if asked.purpose is not None:
            where, values = f"{where} AND purpose = ?", [*values, asked.purpose]
        rows, more = paged(self._db, "files", _COLUMNS, where, values, asked)
        return Page([_file(row) for row in rows], more)

    def read(self, file: File, begin: int = 0, length: int | None = None) -> Iterator[bytes]:
        left = file.bytes - begin if length is None else length
        try:
            with (self._folder / file.id).open("rb") as source:
                source.seek(begin)
                while left > 0:
                    piece = source.read(min(left, PIECE_BYTES))
                    if not piece:
                        raise StoreUnavailable(f"`{file.id}` is shorter than it was")
                    left -= len(piece)
                    yield piece
        except OSError as exc:
            raise refused_by_disk(exc) from exc

    def remove(self, file: File) -> bool:
        with self._db.writing():
            self._db.run(f"{_REMEMBER} WHERE id = ?", (self._now(), file.id))
            gone = self._db.run("DELETE FROM files WHERE id = ?", (file.id,)).rowcount == 1
        with contextlib.suppress(OSError):  # else it is swept
            (self._folder / file.id).unlink(missing_ok=True)
        return gone

    def sweep(self, now_s: float) -> int:
        """Remove what has expired, uploads that nobody finishes, and what has no row."""
        with self._db.writing():
            self._db.run("DELETE FROM files_gone WHERE at_s <= ?", (now_s - GONE_S,))
            self._db.run(f"{_REMEMBER} WHERE whole AND expires_s <= ?", (now_s, now_s))
            rows = self._db.run(
                "DELETE FROM files WHERE expires_s <= ? OR (NOT whole AND created_s <= ?) "
                "RETURNING id",
                (now_s, now_s - UNFINISHED_S),
            ).fetchall()
            kept = {row[0] for row in self._db.run("SELECT id FROM files").fetchall()}
        removed = 0
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                name = path.name.removesuffix(PART)
                # The files' clock, not ours: one that is being renamed now has its row already.
                young = path.stat().st_mtime > time.time() - UNFINISHED_S
                if name not in kept and (not young or (name,) in rows):
                    path.unlink()
                    removed += 1
        return removed

    def finish(self, file: File) -> None:
        """Let it be seen."""
        with self._db.writing():
            self._insert(file, whole=True)

    def forget_unfinished(self, file_id: str) -> None:
        with self._db.writing():
            self._db.run("DELETE FROM files WHERE id = ? AND NOT whole", (file_id,))

    def _refuse_beyond(self, tenant: str, more: int) -> None:
        asked = "SELECT coalesce(sum(bytes), 0) FROM files WHERE tenant = ? AND expires_s > ?"
        used = self._db.run(asked, (tenant, self._now())).fetchone()[0]
        if used + more > self._quota:
            raise QuotaSpent(used, self._quota)

    def _insert(self, file: File, *, whole: bool) -> None:
        self._db.run(
            f"INSERT INTO files ({_COLUMNS}, whole) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 (our own names)
            "ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes, filename = excluded.filename, "
            "whole = excluded.whole, expires_s = excluded.expires_s",
            (*(getattr(file, name) for name in _COLUMNS.split(", ")), whole),
        )


class LocalUpload:
    """The port `Upload`. Raises OSError as it begins."""

    def __init__(self, files: LocalFiles, file: File, path: Path) -> None:
        self._files, self._file, self._path = files, file, path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._out = os.fdopen(os.open(path, flags, 0o600), "wb")
        self._bytes = 0
        self._over = False

    def write(self, part: bytes) -> None:
        try:
            self._out.write(part)
        except OSError as exc:
            raise refused_by_disk(exc) from exc
        self._bytes += len(part)

    def done(self, filename: str, expires_s: int | None = None) -> File:
        ends_s = self._file.expires_s if expires_s is None else expires_s
        whole = replace(self._file, filename=filename, bytes=self._bytes, expires_s=ends_s)
        try:
            self._out.flush()
            os.fsync(self._out.fileno())
            self._out.close()
            self._path.rename(self._path.with_name(whole.id))
        except OSError as exc:
            raise refused_by_disk(exc) from exc
        self._files.finish(whole)
        self._over = True
        return whole

    def drop(self) -> None:
        if self._over:
            return
        self._over = True
        with contextlib.suppress(OSError):
            self._out.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._files.forget_unfinished(self._file.id)


def paged(
    db: Db, table: str, columns: str, where: str, values: list[object], asked: Asked
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows of a page of this table, and whether there are more."""
    than, order = (">", "ASC") if asked.oldest_first else ("<", "DESC")
    if asked.after is not None:
        place = "SELECT n FROM {} WHERE id = ? AND tenant = ?"
        places = [place.format(table), place.format(f"{table}_gone")]
        values = [*values, *(asked.after, asked.tenant) * 2]
        where += f" AND n {than} (SELECT max(n) FROM ({' UNION ALL '.join(places)}))"  # noqa: S608 (our own names)
    text = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY n {order} LIMIT ?"  # noqa: S608 (our own names)
    rows = db.rows(text, *values, asked.limit + 1)
    return rows[: asked.limit], len(rows) > asked.limit


def _file(row: tuple[Any, ...]) -> File:
    return File(*row)
