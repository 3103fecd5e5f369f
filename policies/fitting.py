"""A policy for fleets that came without one: what the default says, in the names that exist."""

from collections.abc import Mapping, Sequence

_HEAD = """\
version: 1
name: fitted
baseline: {baseline}
defaults:
  relax: [slo.ttft, slo.e2e, quality_floor]
rules:
"""
_TWO_LANES = """\
  - id: private
    when: {tags: {data: private}}
    use: cpu
    residency: [{regions}]
    slo: {ttft_p95_ms: null, e2e_p95_ms: null}
    quality_floor: 0
    relax: []
  - id: simple
    when: {tier: simple}
    use: {in_order: [cpu, accelerator]}
    slo: {ttft_p95_ms: 5000}
    thinking: off
  - id: everything-else
    use: {in_order: [accelerator, cpu]}
"""
_ONE_SET = """\
  - id: everything
    use: [{lanes}]
"""


def fitted(regions: Mapping[str, Sequence[str]], baseline: str) -> str:
    """Return the text of a policy over these lanes (lane -> its regions): `cpu` and `accelerator`
    as the default has them, any others as one set of which the cheapest feasible fleet serves.
    """
    head = _HEAD.replace("{baseline}", baseline)
    if set(regions) == {"cpu", "accelerator"}:
        return head + _TWO_LANES.replace("{regions}", ", ".join(regions["cpu"]))
    return head + _ONE_SET.replace("{lanes}", ", ".join(regions))
