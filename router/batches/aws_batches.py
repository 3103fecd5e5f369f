"""Batches in the ledger's table: an item each, replaced if nobody else replaced it meanwhile."""

from collections.abc import Callable, Sequence
from typing import Final

from router.batches.aws_rows import (
    ANYHOW,
    NEW,
    ONE,
    OPEN,
    THERE,
    id_of,
    ordered,
    translated,
)
from router.batches.forms import batch_of, batch_row
from router.batches.port import (
    ENDED,
    MOST_BATCHES,
    Asked,
    Batch,
    File,
    Page,
    TooManyBatches,
    gone_s,
)
from router.ledger.dynamo_table import Item, Table, Unmet

_UNCHANGED: Final = "#version = :was"
_KEPT: Final = "#gone_s = :until"


class AwsBatches:
    """The port `Batches`. Who looks every minute (router.workers.scheduler) sees what was added."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, batch: Batch, most: int = MOST_BATCHES) -> None:
        table, until_s = self._table, gone_s(batch)
        index = ordered(batch.created_s, batch.id)
        open_ = ordered(batch.expires_s, batch.id)
        items: Sequence[Item] = (
            {"pk": f"BATCH#{batch.id}", "sk": ONE, "row": _row(batch), "version": 1},
            {"pk": f"BATCHES#{batch.tenant}", "sk": index},
            {"pk": OPEN, "sk": open_},
            {"pk": f"BREADS#{batch.tenant}", "sk": open_, "file": batch.input_file_id},
        )
        puts = [table.putting({**item, "gone_s": until_s}, NEW, {}) for item in items]
        room, values = "attribute_not_exists(#open) OR #open < :most", {"one": 1, "most": most}
        quota = table.updating((f"BQUOTA#{batch.tenant}", ONE), "ADD #open :one", room, values)
        with translated("batches"):
            try:
                table.transact([*puts, quota])
            except Unmet as unmet:
                if 0 not in unmet.old:  # else it was added: the answer to that was lost
                    raise TooManyBatches from None

    def find(self, batch_id: str) -> Batch | None:
        with translated("batches"):
            found = self._table.get((f"BATCH#{batch_id}", ONE))
        return _batch(found) if found else None

    def page(self, asked: Asked) -> Page[Batch]:
        condition, values = "#pk = :pk", {"pk": f"BATCHES#{asked.tenant}"}
        if asked.after is not None:
            last = self.find(asked.after)
            if last is None or last.tenant != asked.tenant:
                return Page((), more=False)
            condition += f" AND #sk {'>' if asked.oldest_first else '<'} :after"
            values["after"] = ordered(last.created_s, last.id)
        names: list[str] = []
        with translated("batches"):
            backwards = not asked.oldest_first
            for item in self._table.query(
                condition, values, backwards=backwards, page=asked.limit + 1
            ):
                names.append(id_of(item["sk"]))
                if len(names) > asked.limit:
                    break
        found = [self.find(name) for name in names[: asked.limit]]
        return Page([b for b in found if b is not None], more=len(names) > asked.limit)

    def change(self, batch_id: str, to: Callable[[Batch], Batch]) -> Batch | None:
        with translated("batches"):
            found = self._table.get((f"BATCH#{batch_id}", ONE))
            while found:
                before = _batch(found)
                after = to(before)
                if after == before:
                    return before
                try:
                    self._put(before, after, found["version"])
                except Unmet as unmet:
                    found = unmet.old.get(0) or self._table.get((f"BATCH#{batch_id}", ONE))
                else:
                    return after
        return None

    def reader_of(self, file: File) -> str | None:
        with translated("batches"):
            for item in self._table.query("#pk = :pk", {"pk": f"BREADS#{file.tenant}"}):
                if item["file"] == file.id:
                    return id_of(item["sk"])
        return None

    def unfinished(self) -> Sequence[Batch]:
        with translated("batches"):
            names = [id_of(item["sk"]) for item in self._table.query("#pk = :pk", {"pk": OPEN})]
        found = [self.find(name) for name in names]
        return [b for b in found if b is not None and b.status not in ENDED]

    def begin_step(self, batch: Batch, step: str, now_s: float, until_s: float) -> bool:
        """Tell whether nobody else takes this step of the batch; until then nobody does."""
        key = (OPEN, ordered(batch.expires_s, batch.id))
        values = {"step": step, "now": now_s, "until": until_s}
        free = "attribute_not_exists(#step) OR #step <> :step OR #until_s <= :now"
        change = "SET #step = :step, #until_s = :until"
        with translated("batches"):
            try:
                self._table.update(key, change, f"{THERE} AND ({free})", values)
            except Unmet:
                return False
        return True

    def tried(self, batch: Batch) -> int:
        """Count that its first step is tried once more; return how often it was, with this."""
        key = (OPEN, ordered(batch.expires_s, batch.id))
        with translated("batches"):
            try:
                self._table.update(key, "ADD #tries :one", THERE, {"one": 1})
            except Unmet:
                return 0  # it has ended
            return int(self._table.get(key).get("tries", 0))

    def not_yet(self, batch: Batch) -> None:
        """Let a step that could not be taken yet be begun again."""
        key = (OPEN, ordered(batch.expires_s, batch.id))
        with translated("batches"):
            try:
                self._table.update(key, "REMOVE #step, #until_s", THERE, {})
            except Unmet:
                return

    def _put(self, before: Batch, after: Batch, version: int) -> None:
        """Put it in the other's place. Raises Unmet: that isn't there any more."""
        values = {"row": _row(after), "version": version + 1, "was": version}
        change = "SET #row = :row, #version = :version"
        key = (f"BATCH#{after.id}", ONE)
        if after.status not in ENDED or before.status in ENDED:
            self._table.update(key, change, _UNCHANGED, values)
            return
        table, name = self._table, ordered(after.expires_s, after.id)
        quota = (f"BQUOTA#{after.tenant}", ONE)
        listed = (f"BATCHES#{after.tenant}", ordered(after.created_s, after.id))
        until = {"until": gone_s(after)}  # later than was said at first, if it ended so late
        table.transact(
            [
                table.updating(key, f"{change}, {_KEPT}", _UNCHANGED, {**values, **until}),
                table.updating(listed, f"SET {_KEPT}", ANYHOW, until),
                table.deleting((OPEN, name), ANYHOW, {}),
                table.deleting((f"BREADS#{after.tenant}", name), ANYHOW, {}),
                table.updating(quota, "ADD #open :less", ANYHOW, {"less": -1}),
            ]
        )


def _row(batch: Batch) -> str:
    return batch_row(batch).decode()


def _batch(item: Item) -> Batch:
    return batch_of(item["row"])
