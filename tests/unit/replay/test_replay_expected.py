"""Decisions see the tokens that a router would have expected; the real ones are for serving."""

import pytest
from replay_worlds import box, catalogue_of, kind, strong, trace_of, world_of

from router.replay.run import replay

POLICY = """
version: 1
name: by-length
baseline: big@p5
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: 15000}}
rules: [{id: all, use: {in_order: [cpu, accelerator]}}]
"""
# A box makes 36 tokens a second for one alone: 100 tokens take 3 s of the 15, 1,000 take 27 s.
FLEETS = catalogue_of(box("a"), strong("p5", usd_per_hour=90, profile="p5.48xlarge/llama-4-scout"))
WORLD = world_of(POLICY, FLEETS)
BOX, P5 = 0, 1


ASKS = kind(), kind(max_usd=100.0)  # the latter is not chosen fast: the router itself is asked


def whom(of, expected, real):
    """Return whom requests far apart go to, of such lengths."""
    rows = [
        (600.0 * i, 20, tokens_out, {"expected": tokens})
        for i, (tokens, tokens_out) in enumerate(zip(expected, real, strict=True))
    ]
    return list(replay(WORLD, trace_of(rows, (of,))).fleet)


@pytest.mark.parametrize("of", ASKS)
def test_a_request_goes_where_its_expected_length_leads_whatever_its_real_one(of):
    assert whom(of, (100, 1000), (100, 1000)) == [BOX, P5]
    assert whom(of, (100, 1000), (1000, 100)) == [BOX, P5]


@pytest.mark.parametrize("of", ASKS)
def test_real_lengths_that_change_places_change_nobodys_fleet(of):
    expected, real = [10, 100, 1000, 900, 50], [1000, 20, 5, 100, 900]
    found = whom(of, expected, real)
    assert set(found) == {BOX, P5}
    assert all(whom(of, expected, real[k:] + real[:k]) == found for k in range(1, 5))
