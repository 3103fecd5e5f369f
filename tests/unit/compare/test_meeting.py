"""Which rules one request can match both of, as the sentences tell it."""

from dataclasses import replace

from diff_support import policy
from hypothesis import given
from hypothesis import strategies as st

from policies.conditions import CONDITIONS
from policies.model import Facts
from router.compare.meeting import can_both_match

FACTS = Facts(
    "2026-01-05T12:00:00.000Z", "shop", "web", "k1", {}, "code", "heavy", 0.5, 0.5, "en", 50, 50
)
SOME = st.sets
POOLS = {
    "tier": SOME(st.sampled_from(["simple", "heavy"]), min_size=1),
    "language": SOME(st.sampled_from(["zh", "zh-Hans", "en"]), min_size=1),
    "tags": st.dictionaries(
        st.sampled_from("ab"), SOME(st.sampled_from("xy"), min_size=1), min_size=1
    ),
    "needs": SOME(st.sampled_from(["tools", "json"]), min_size=1),
    "tokens_in": st.builds(
        lambda a, b: {"above": a, "below": b}, st.integers(0, 4), st.integers(1, 5)
    ),
    "local_time": st.builds(
        lambda a, b, tz: {"from": a, "to": b, "tz": tz},
        st.sampled_from(["22:00", "06:00", "12:00"]),
        st.sampled_from(["23:00", "07:00", "12:30", "00:00"]),
        st.sampled_from(["UTC", "Asia/Shanghai"]),
    ),
}
WHEN = st.fixed_dictionaries({}, optional=POOLS).map(
    lambda written: {name: CONDITIONS[name].canonical(value) for name, value in written.items()}
)
REQUESTS = st.builds(
    lambda tier, language, tags, needs, tokens, hour: replace(
        FACTS,
        tier=tier,
        language=language,
        tags=tags,
        needs=tuple(needs),
        tokens_in=tokens,
        at=f"2026-01-05T{hour:02d}:15:00.000Z",
    ),
    st.sampled_from(["simple", "heavy"]),
    st.sampled_from(["zh-Hans", "zh-Hant", "en"]),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
    st.sets(st.sampled_from(["tools", "json"])),
    st.integers(0, 5),
    st.integers(0, 23),
)


def matches(when, facts):
    return all(CONDITIONS[name].matcher(wanted)(facts) for name, wanted in when.items())


@given(WHEN, WHEN, REQUESTS)
def test_where_a_request_matches_both_it_is_never_denied(a, b, facts):
    if matches(a, facts) and matches(b, facts):
        assert can_both_match(a, b)


def apart(one, other):
    """Tell whether two rules of these conditions can't both match."""
    rules = f"""
rules:
  - {{id: one, when: {one}, use: cpu}}
  - {{id: other, when: {other}, use: cpu}}
  - {{id: rest, use: accelerator}}
"""
    first, second, _ = policy(rules).compiled["rules"]
    return not can_both_match(first["when"], second["when"])


def test_what_excludes_each_other_is_seen():
    assert apart("{task: code}", "{task: [math, planning]}")
    assert apart("{language: zh}", "{language: en}")
    assert not apart("{language: zh}", "{language: zh-Hant}")
    assert apart("{complexity: {below: 0.4}}", "{complexity: {above: 0.4}}")
    assert apart("{tokens_in: {below: 6}}", "{tokens_in: {above: 5}}")
    assert not apart("{tokens_in: {below: 7}}", "{tokens_in: {above: 5}}")
    assert apart("{tags: {data: private, app: x}}", "{tags: {data: public}}")
    assert not apart("{tags: {data: private}}", "{tags: {app: x}}")
    assert not apart("{needs: tools}", "{needs: json}")


def test_hours_of_two_zones_that_never_meet_exclude_each_other():
    times = '{{local_time: {{from: "{}", to: "{}", tz: {}}}}}'
    assert apart(
        times.format("08:00", "09:00", "UTC"), times.format("08:00", "09:00", "Asia/Shanghai")
    )
    assert not apart(
        times.format("08:00", "09:00", "UTC"), times.format("16:30", "17:00", "Asia/Shanghai")
    )
    assert apart(times.format("22:00", "06:00", "UTC"), times.format("06:00", "07:00", "UTC"))
    assert not apart(times.format("22:00", "06:00", "UTC"), times.format("05:00", "07:00", "UTC"))
