"""A batch's changes of status: what is kept of a batch stays small."""

import pytest

from router.batches import states
from router.batches.forms import batch_row
from router.batches.port import Batch, Counts, Mistake
from router.identity import Key

MOST_BYTES = 400_000  # of an item of DynamoDB
METADATA = {f"{n:064d}": "\x01" * 512 for n in range(16)}
BATCH = Batch(
    "batch_1", Key(id="k", tenant="t"), True, "file-1", "/v1", 3600, METADATA, 0, 3600, 3600
)
WORST = (Mistake("code", "\x01" * 10_000, 1, "\x01" * 10_000),) * 1000


@pytest.mark.parametrize(
    "change",
    [states.refused(WORST, 1), states.ended("failed", Counts(), (None, None), 1, WORST)],
)
def test_however_much_is_wrong_with_a_file_its_batch_fits_in_an_item(change):
    ended = change(BATCH)
    assert ended.status == "failed"
    assert len(ended.mistakes) == states.MOST_MISTAKES
    assert len(batch_row(ended)) < MOST_BYTES
