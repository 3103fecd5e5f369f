"""FOCUS as Parquet, and bills that come as Parquet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from router.finops.focus import Charge, Column, cells

BATCH = 10_000  # rows held at once
TYPES = {
    "string": pa.string(),
    "json": pa.string(),
    "decimal": pa.float64(),  # as the clouds' own exports have them
    "datetime": pa.timestamp("ms", tz="UTC"),
}


def write(charges: Iterable[Charge], of: tuple[Column, ...], path: Path) -> int:
    """Write one row a charge, a batch at a time."""
    schema = pa.schema([pa.field(c.name, TYPES[c.type], nullable=c.nullable) for c in of])
    rows = (cells(charge, of) for charge in charges)
    n = 0
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, BATCH)):
            n += len(batch)
            arrays = [
                _array(texts, c) for texts, c in zip(zip(*batch, strict=True), of, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema))
    return n


def _array(texts: Sequence[str | None], column: Column) -> Any:  # noqa: ANN401  (pyarrow is untyped)
    if column.type == "decimal":
        return pa.array([None if text is None else float(text) for text in texts], pa.float64())
    array = pa.array(texts, pa.string())
    if column.type == "datetime":
        return pc.strptime(array, "%Y-%m-%dT%H:%M:%SZ", "ms").cast(TYPES["datetime"])
    return array


def names(path: Path) -> list[str]:
    """Return the columns of a file; raise ValueError where it is no Parquet."""
    return list(pq.read_schema(path).names)


def rows(path: Path, wanted: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows' cells of these columns, a batch in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=list(wanted)):
            columns = [batch.column(name).to_pylist() for name in wanted]
            for cells in zip(*columns, strict=True):
                yield dict(zip(wanted, cells, strict=True))
