"""What goes out as JSON: files, batches, pages, lines of output; and a batch as stores keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from router.batches.port import Batch, Counts, File, Mistake, Result, Status
from router.key_rows import key_of, rights_json

Json = dict[str, Any]
_TIMES: Final[tuple[Status, ...]] = (
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)


def file_json(file: File) -> Json:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_s,
        "expires_at": file.expires_s,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def batch_json(batch: Batch, counts: Counts) -> Json:
    """`counts`: as they are now."""
    mistakes = [_mistake_json(mistake) for mistake in batch.mistakes]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": mistakes} if mistakes else None,
        "input_file_id": batch.input_file_id,
        "completion_window": f"{batch.window_s // 3600}h",
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_s,
        "expires_at": batch.expires_s,
        **{f"{status}_at": batch.times.get(status) for status in _TIMES},
        "request_counts": asdict(counts),
        "metadata": dict(batch.metadata) or None,
    }


def page_json(rows: Sequence[Json], *, more: bool) -> bytes:
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    listed = {"object": "list", "data": rows, "first_id": first, "last_id": last}
    return orjson.dumps({**listed, "has_more": more})


def result_line(batch_id: str, result: Result) -> bytes:
    """Return one line of the output or the error file."""
    row_id = orjson.dumps(f"batch_req_{batch_id.removeprefix('batch_')}_{result.number}")
    response, error = b"null", b"null"
    if result.status is None:
        error = orjson.dumps({"code": result.code, "message": result.message})
    else:
        response = b'{"status_code":%d,"request_id":%b,"body":%b}' % (
            result.status,
            orjson.dumps(result.request_id),
            _as_json(result.body),
        )
    custom_id = orjson.dumps(result.custom_id)
    head = b'{"id":%b,"custom_id":%b,' % (row_id, custom_id)
    return head + b'"response":%b,"error":%b}\n' % (response, error)


def _as_json(body: bytes) -> bytes:
    """Return the body as it was answered, on one line; what is no JSON as a JSON text."""
    try:
        value = orjson.loads(body)
    except ValueError:
        return orjson.dumps(body.decode("utf-8", "replace"))
    return orjson.dumps(value) if b"\n" in body else body.strip()


def _mistake_json(mistake: Mistake) -> Json:
    return {
        "code": mistake.code,
        "line": mistake.line,
        "message": mistake.message,
        "param": mistake.param,
    }


# -- as it is kept ---------------------------------------------------------------------------------


def batch_row(batch: Batch) -> bytes:
    """Return all of it as JSON, its key's rights as keys are kept."""
    row: Json = {name: getattr(batch, name) for name in _PLAIN}
    row |= {"key_id": batch.key.id, "rights": rights_json(batch.key)}
    row |= {"metadata": dict(batch.metadata), "times": dict(batch.times)}
    row |= {"counts": asdict(batch.counts), "mistakes": [asdict(one) for one in batch.mistakes]}
    return orjson.dumps(row)


def batch_of(row: bytes | str) -> Batch:
    """Return the batch of `batch_row`. Raises ValueError, KeyError or TypeError if it is none."""
    found: Json = orjson.loads(row)
    times: Mapping[Status, int] = found["times"]
    return Batch(
        key=key_of(found["key_id"], found["rights"]),
        metadata=found["metadata"],
        times=times,
        counts=Counts(**found["counts"]),
        mistakes=tuple(Mistake(**one) for one in found["mistakes"]),
        **{name: found[name] for name in _PLAIN},
    )


_PLAIN: Final = (
    "id",
    "kept",
    "input_file_id",
    "endpoint",
    "window_s",
    "created_s",
    "expires_s",
    "files_s",
    "status",
    "output_file_id",
    "error_file_id",
)
