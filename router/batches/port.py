"""The ports of files and batches, and their values: what the routes and the dispatcher need, and
every store has (the embedded one: `router.batches.local`; on AWS S3, DynamoDB and SQS).

Calls block: where `remote` they are made in threads. Times are seconds since 1970, UTC. A batch
belongs to its key's tenant; who is of another one must not learn that it exists (that is seen to by
the routes). What lies in files and results is the user's: no message or log holds any of it.

* the caller's   QuotaSpent       the tenant's files would take more bytes than it may have
* the machine's  StoreFull        no room is left: nothing half-written stays
                 StoreUnavailable it can't be used now: what was asked did not happen, or may have
                                  and can be asked again
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, Protocol, TypeVar

from router.identity import Key

T = TypeVar("T")
Purpose = Literal["batch", "batch_output"]
Status = Literal[
    "validating",
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
]
KEPT_S: Final = 31 * 86_400  # a batch itself, at the least: see `gone_s`
MOST_BATCHES: Final = 100  # of a tenant that are not over
ENDED: Final[frozenset[Status]] = frozenset({"completed", "failed", "expired", "cancelled"})
"""No more comes after these."""


class QuotaSpent(Exception):  # noqa: N818  (what it says)
    """`used` and `most` are bytes of the tenant's."""

    def __init__(self, used: int, most: int) -> None:
        super().__init__(f"{used} of {most} bytes are used")
        self.used, self.most = used, most


class TooManyBatches(Exception):  # noqa: N818  (what it says)
    """The tenant has as many that are not over as it may have."""


class StoreFull(Exception):  # noqa: N818  (what it says)
    pass


class StoreUnavailable(Exception):  # noqa: N818  (what it says)
    """Says where and why, nothing of what is stored."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that is whole. `id` begins with `file-`; `expires_s`: it is removed then. `key_id`:
    who uploaded it, or whose batch made it.
    """

    id: str
    tenant: str
    key_id: str
    purpose: Purpose
    filename: str
    bytes: int
    created_s: int
    expires_s: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why an input file is no good. `line` counts from 1; None: the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One request of an input file: where it lies in it. `number` counts from 1, blank lines too:
    it is the line's identity. `offset` and `length` are bytes, without the line's end.
    """

    number: int
    custom_id: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Job:
    """A line that was taken to be sent, as the request `request_id`. `sends`: how often it was sent
    before, with a known outcome; `failures`: how many of these may have cost money.
    """

    batch_id: str
    line: Line
    request_id: str
    sends: int = 0
    failures: int = 0

    def once(self) -> str:
        """Return the send's idempotency key. No caller can spell it: it has blanks."""
        return f"{self.batch_id} {self.line.number} {self.sends}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line, once and for all. `status` None: it was never answered, and `code` and
    `message` say why (`batch_expired`, `batch_cancelled`, ...). `body` is JSON as it was answered.
    """

    number: int
    custom_id: str
    request_id: str
    status: int | None
    body: bytes = b""
    code: str = ""
    message: str = ""

    @property
    def ok(self) -> bool:
        """Tell whether it goes to the output file, else to the error file."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004  (HTTP's)


@dataclass(frozen=True, slots=True)
class Counts:
    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        return self.total - self.completed - self.failed


@dataclass(frozen=True, slots=True)
class Batch:
    """`id` begins with `batch_`. `key`: who made it, with its rights at that time; `kept`: it is
    one of our keys, looked up again as lines are sent, else a token's or a principal's of AWS.
    `times`: when it came into a status, by status. `expires_s`: the deadline. `files_s`: for how
    long its output files are kept.
    """

    id: str
    key: Key
    kept: bool
    input_file_id: str
    endpoint: str
    window_s: int
    metadata: Mapping[str, str]
    created_s: int
    expires_s: int
    files_s: int
    status: Status = "validating"
    times: Mapping[Status, int] = field(default_factory=dict)
    counts: Counts = Counts()
    mistakes: tuple[Mistake, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def tenant(self) -> str:
        return self.key.tenant


def gone_s(batch: Batch) -> int:
    """Return when it may be forgotten: no file of it is there longer, however late it ended."""
    return max([batch.expires_s, *batch.times.values()]) + max(KEPT_S, batch.files_s)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The newest first, unless the oldest were asked for. `more`: there are others after these."""

    rows: Sequence[T]
    more: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page: `after` is the id of the last one seen; one that is unknown gives no rows."""

    tenant: str
    limit: int
    after: str | None = None
    oldest_first: bool = False
    purpose: str | None = None  # of files


class Upload(Protocol):
    """A file that is being written; nobody sees it before `done`."""

    def write(self, part: bytes) -> None:
        """Raises StoreFull or StoreUnavailable."""

    def done(self, filename: str, expires_s: int | None = None) -> File:
        """Make it whole, at once and for good; `expires_s`: another end than was said as it began.
        Raises as `write`, or QuotaSpent.
        """

    def drop(self) -> None:
        """Leave nothing of it; after `done`: does nothing."""


class Files(Protocol):
    def begin(self, file: File) -> Upload:
        """Begin to write it; `file.bytes` is the most that comes and counts until it is whole.
        What the router itself makes (`batch_output`) is never refused for the quota, but counts.
        Raises QuotaSpent, StoreFull or StoreUnavailable.
        """

    def find(self, file_id: str) -> File | None:
        """Return the file, unless it is unknown, removed or expired."""

    def page(self, asked: Asked) -> Page[File]: ...

    def read(self, file: File, begin: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield its bytes, or this part of them, in pieces of at most 1 MiB or so."""

    def remove(self, file: File) -> bool:
        """Remove it; False: it was not there any more."""


class Batches(Protocol):
    def add(self, batch: Batch, most: int = MOST_BATCHES) -> None:
        """Keep it, and see that it is validated and sent: nobody else is told. `most`: of the
        tenant's that are not over, with this one. Raises TooManyBatches.
        """

    def find(self, batch_id: str) -> Batch | None: ...

    def page(self, asked: Asked) -> Page[Batch]: ...

    def change(self, batch_id: str, to: Callable[[Batch], Batch]) -> Batch | None:
        """Put `to(batch)` in its place, and return it; None: unknown. `to` is pure and may be
        called again: nobody else's change is lost (`router.batches.states` has those there are).
        """

    def reader_of(self, file: File) -> str | None:
        """Return a batch of the file's tenant that isn't over and reads it; None: there is none."""

    def unfinished(self) -> Sequence[Batch]:
        """Return those whose status is not of ENDED, the nearest deadline first."""


class Queue(Protocol):
    """The lines of batches in progress. A store whose lines are pushed to their sender (SQS) takes
    none by itself: there `take` is what the sender does with a line it was given.
    """

    def put(self, batch_id: str, lines: Iterable[Line]) -> None:
        """Add the lines, each once: the same again changes nothing, so that it can be gone on with
        after it was broken off.
        """

    def take(self, batch_id: str, most: int, now_s: float, ids: Callable[[], str]) -> Sequence[Job]:
        """Take lines that may be sent now and that nobody has, in their order. The request id of
        each, out of `ids`, is kept before this returns.
        """

    def died(self) -> Sequence[Job]:
        """Return what was taken by somebody who is dead, with the request id that it had: nobody
        knows what came of it. Each is given back or kept next; it is not taken before that. Asked
        by the one dispatcher as it begins; a store that hears of such a line again (SQS) has none.
        """

    def later(self, job: Job, not_before_s: float, reason: str, *, failed: bool = False) -> None:
        """Give it back: it was sent, in vain, for this reason; `failed`: it may have cost money."""

    def keep(self, job: Job, result: Result) -> bool:
        """Keep the line's result, the first one only; False: it had one."""

    def end(self, batch_id: str, code: str, message: str) -> None:
        """Give each line that has no result one without a status, of this code; the message goes on
        with its last `reason`, if it was sent.
        """

    def counts(self, batch_id: str) -> Counts: ...

    def results(self, batch_id: str, *, ok: bool) -> Iterator[Result]:
        """Yield those for the output file, or else for the error file, by their lines' numbers."""

    def forget(self, batch_id: str) -> None:
        """Remove lines and results, once the files are made."""


class Store(Protocol):
    """`remote`: whether its calls wait for a network. `most_bytes`: of one file."""

    remote: bool
    most_bytes: int

    @property
    def files(self) -> Files: ...
    @property
    def batches(self) -> Batches: ...
    @property
    def queue(self) -> Queue: ...

    def sweep(self, now_s: float) -> int:
        """Remove what has expired or was never finished; return how many files."""

    def close(self) -> None: ...
