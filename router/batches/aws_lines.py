"""The lines of batches in the ledger's table; what was answered to each is an object of S3.

Lines are sent by chunks: a message of the queue names one. Who takes a line has it for a lease, for
a function of Lambda that died says nothing: `died` tells of those whose lease is over.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from router.batches.aws_chunks import CHUNK, Span, chunk_key, chunk_of, padded
from router.batches.aws_rows import ANYHOW, NEW, translated
from router.batches.port import KEPT_S, Counts, Job, Line, Result
from router.ledger.dynamo_table import Item, Key, Table, Unmet
from router.ledger.port import LedgerUnavailable
from router.s3 import Bucket

LEASE_S: Final = 930  # longer than a function may run; less than a message stays hidden
TOGETHER: Final = 100  # items of a transaction, as many as DynamoDB takes
THREADS: Final = 16
SHARDS: Final = 32  # of a batch's counts: lines that end at the same time rarely share one
_OPEN: Final = "attribute_exists(#pk) AND attribute_not_exists(#ended)"
_MINE: Final = f"{_OPEN} AND #request_id = :mine"
_NEW_CHUNK: Final = "SET #due_s = :now, #gone_s = :gone_s ADD #version :one"
_NOBODYS: Final = f"{_OPEN} AND (attribute_not_exists(#request_id) OR #lease_s <= :now)"
_FREE: Final = f"{_OPEN} AND attribute_not_exists(#request_id) AND #version = :was"


class AwsQueue:
    """The port `Queue`. `now`: seconds since 1970. `span`: the lines that `take` and `died` know
    of, those of one message; None: all, and nobody's death is told.
    """

    def __init__(
        self, table: Table, bucket: Bucket, now: Callable[[], float], span: Span | None = None
    ) -> None:
        self._table, self._bucket, self._now, self.span = table, bucket, now, span

    def within(self, span: Span) -> "AwsQueue":
        return AwsQueue(self._table, self._bucket, self._now, span)

    def put(self, batch_id: str, lines: Iterable[Line]) -> None:
        with translated("lines"):
            for some in _added_together(batch_id, lines):
                try:
                    self._add(batch_id, some)
                except Unmet:  # it goes on where it was broken off
                    for line in some:
                        self._add_once(batch_id, line)

    def take(self, batch_id: str, most: int, now_s: float, ids: Callable[[], str]) -> Sequence[Job]:
        jobs: list[Job] = []
        with translated("lines"):
            for item in self._open(batch_id, page=max(most, CHUNK)) if most > 0 else ():
                if "request_id" in item or item.get("not_before_s", 0) > now_s:
                    continue
                job = _job(batch_id, item, ids())
                values = {
                    "mine": job.request_id,
                    "until": self._now() + LEASE_S,
                    "was": item["version"],
                    "version": item["version"] + 1,
                }
                change = "SET #request_id = :mine, #lease_s = :until, #version = :version"
                try:
                    self._table.update(_key(job), change, _FREE, values)
                except Unmet:
                    continue  # somebody else has it
                except LedgerUnavailable:
                    if not jobs:
                        raise
                    break  # those that were taken are sent
                jobs.append(job)
                if len(jobs) == most:
                    break
        return jobs

    def died(self) -> Sequence[Job]:
        if self.span is None:
            return ()
        now_s = self._now()
        with translated("lines"):
            return [
                _job(self.span.batch_id, item, item["request_id"])
                for item in self._open(self.span.batch_id)
                if "request_id" in item and item["lease_s"] <= now_s
            ]

    def later(self, job: Job, not_before_s: float, reason: str, *, failed: bool = False) -> None:
        change = (
            "SET #not_before_s = :then, #reason = :reason, #sends = :sends, "
            "#failures = :failures ADD #version :one "
            "REMOVE #request_id, #lease_s"
        )
        values = {
            "mine": job.request_id,
            "then": not_before_s,
            "reason": reason,
            "sends": job.sends + 1,
            "failures": job.failures + failed,
            "one": 1,
        }
        with translated("lines"):
            try:
                self._table.update(_key(job), change, _MINE, values)
            except Unmet:
                return  # it has a result, or somebody else has it

    def keep(self, job: Job, result: Result) -> bool:
        name = _object(job.batch_id, result)
        with translated("results"):
            if result.body:
                self._bucket.put(name, result.body)
            kept = self._keep(job.batch_id, result)
            if not kept and result.body:
                self._drop(job, result)
            return kept

    def end(self, batch_id: str, code: str, message: str) -> None:
        self._end(batch_id, code, message, _OPEN)

    def close(self, batch_id: str, code: str, message: str) -> bool:
        """As `end`, but what somebody has is left to him; tell whether every line has a result."""
        self._end(batch_id, code, message, _NOBODYS)
        return not self.open_times(batch_id)

    def _end(self, batch_id: str, code: str, message: str, condition: str) -> None:
        def ended(item: Item) -> None:
            line, reason = _line(item), item.get("reason")
            said = message if reason is None else f"{message} (last: {reason})"
            result = Result(line.number, line.custom_id, "", None, b"", code, said)
            self._keep(batch_id, result, condition)

        with translated("lines"), ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(ended, list(self._open(batch_id))))

    def counts(self, batch_id: str) -> Counts:
        found = Counts()
        with translated("lines"):
            for item in self._table.query("#pk = :pk", {"pk": f"BCOUNTS#{batch_id}"}):
                found = Counts(
                    found.total + item.get("total", 0),
                    found.completed + item.get("completed", 0),
                    found.failed + item.get("failed", 0),
                )
        return found

    def results(self, batch_id: str, *, ok: bool) -> Iterator[Result]:
        wanted = "completed" if ok else "failed"
        with ThreadPoolExecutor(THREADS) as threads:
            with translated("lines"):
                rows = (row for row in self._all(batch_id) if row.get("ended") == wanted)
                found = list(rows)
            while found:
                some, found = found[: 4 * THREADS], found[4 * THREADS :]
                with translated("results"):
                    read = list(threads.map(lambda row: self._result(batch_id, row), some))
                yield from read

    def forget(self, batch_id: str) -> None:
        def gone(item: Item) -> None:
            key = item["pk"], item["sk"]
            if item.get("bytes"):
                self._bucket.delete(_object(batch_id, _unread(item)))
            self._table.delete(key, ANYHOW, {})

        with translated("lines"), ThreadPoolExecutor(THREADS) as threads:
            for kind in ("BLINES", "BCHUNKS", "BCOUNTS"):
                rows = list(self._table.query("#pk = :pk", {"pk": f"{kind}#{batch_id}"}))
                list(threads.map(gone, rows))

    # -- items -------------------------------------------------------------------------------------

    def _add(self, batch_id: str, lines: Sequence[Line]) -> None:
        """Add them all. Raises Unmet: some were added before."""
        table, first = self._table, lines[0].number
        counted = (f"BCOUNTS#{batch_id}", _shard(first))
        gone_s = int(self._now()) + KEPT_S
        chunks = dict.fromkeys(chunk_of(batch_id, line.number) for line in lines)
        table.transact(
            [
                table.updating(
                    counted,
                    "SET #gone_s = :gone_s ADD #total :more",
                    ANYHOW,
                    {"more": len(lines), "gone_s": gone_s},
                ),
                *(table.updating(chunk_key(span), _NEW_CHUNK, ANYHOW,
                                 {"now": 0, "gone_s": gone_s, "one": 1}) for span in chunks),
                *(table.putting(_item(batch_id, line, gone_s), NEW, {}) for line in lines),
            ]
        )  # fmt: skip

    def _add_once(self, batch_id: str, line: Line) -> None:
        try:
            self._add(batch_id, [line])
        except Unmet:
            return

    def _keep(self, batch_id: str, result: Result, condition: str = _OPEN) -> bool:
        """Note the result, and count it, unless the line has one or the condition doesn't hold."""
        table = self._table
        kind = "completed" if result.ok else "failed"
        values: Item = {
            "kind": kind,
            "by": result.request_id,
            "status": result.status,
            "code": result.code,
            "message": result.message,
            "bytes": len(result.body),
            "one": 1,
            "now": self._now(),
        }
        change = (
            "SET #ended = :kind, #by = :by, #code = :code, #message = :message, #bytes = :bytes"
        )
        if result.status is not None:
            change += ", #status = :status"
        change += " ADD #version :one REMOVE #request_id, #lease_s"
        counted = (f"BCOUNTS#{batch_id}", _shard(result.number))
        try:
            table.transact(
                [
                    table.updating(_line_key(batch_id, result.number), change, condition, values),
                    table.updating(counted, f"ADD #{kind} :one", ANYHOW, values),
                ]
            )
        except Unmet:
            return False
        return True

    def _drop(self, job: Job, result: Result) -> None:
        """Remove what was answered too late, unless this very answer was kept before."""
        item = self._table.get(_key(job))
        if item.get("by") != result.request_id:
            self._bucket.delete(_object(job.batch_id, result))

    def _result(self, batch_id: str, item: Item) -> Result:
        result = _unread(item)
        if not item["bytes"]:
            return result
        return replace(result, body=self._bucket.get(_object(batch_id, result)))

    def _all(self, batch_id: str, page: int | None = None) -> Iterator[Item]:
        condition, values = "#pk = :pk", {"pk": f"BLINES#{batch_id}"}
        if self.span is not None:
            condition += " AND #sk BETWEEN :first AND :last"
            values |= {"first": padded(self.span.first), "last": padded(self.span.last)}
        return self._table.query(condition, values, page=page)

    def _open(self, batch_id: str, page: int | None = None) -> Iterator[Item]:
        return (item for item in self._all(batch_id, page) if "ended" not in item)

    def open_times(self, batch_id: str) -> list[float]:
        """Return when each line without a result is free to be sent."""
        with translated("lines"):
            return [
                float(item.get("lease_s") or item.get("not_before_s") or 0)
                for item in self._open(batch_id)
            ]


def _added_together(batch_id: str, lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yield lines that one transaction adds: an item each, one for the counts, and one for each of
    their chunks. Blank lines have numbers too, so that each line may be in a chunk of its own.
    """
    some, chunks = list[Line](), set[Span]()
    for line in lines:
        span = chunk_of(batch_id, line.number)
        if some and len(some) + 1 + len(chunks | {span}) + 1 > TOGETHER:
            yield some
            some, chunks = [], set()
        some.append(line)
        chunks.add(span)
    if some:
        yield some


def _line_key(batch_id: str, number: int) -> Key:
    return f"BLINES#{batch_id}", padded(number)


def _key(job: Job) -> Key:
    return _line_key(job.batch_id, job.line.number)


def _shard(number: int) -> str:
    return f"{number % SHARDS:02d}"


def _object(batch_id: str, result: Result) -> str:
    return f"results/{batch_id}/{padded(result.number)}/{result.request_id}"


def _item(batch_id: str, line: Line, gone_s: int) -> Item:
    pk, sk = _line_key(batch_id, line.number)
    where = {"custom_id": line.custom_id, "offset": line.offset, "length": line.length}
    return {"pk": pk, "sk": sk, **where, "sends": 0, "version": 1, "gone_s": gone_s}


def _line(item: Item) -> Line:
    return Line(int(item["sk"]), item["custom_id"], item["offset"], item["length"])


def _job(batch_id: str, item: Item, request_id: str) -> Job:
    return Job(batch_id, _line(item), request_id, item["sends"], item.get("failures", 0))


def _unread(item: Item) -> Result:
    """Return a line's result without its body."""
    return Result(
        int(item["sk"]),
        item["custom_id"],
        item["by"],
        item.get("status"),
        b"",
        item["code"],
        item["message"],
    )
