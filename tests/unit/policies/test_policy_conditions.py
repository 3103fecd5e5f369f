"""Each condition of `when`: how it is written, and what it matches."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from policies.cases import facts_of
from policies.conditions import CONDITIONS, LANGUAGES

EXAMPLES = {  # written, facts that match, facts that don't
    "tier": [
        ("simple", {"tier": "simple"}, {"tier": "heavy"}),
        (["simple", "heavy"], {"tier": "heavy"}, None),
    ],
    "task": [
        ("math", {"task": "math"}, {"task": "code"}),
        (["sentiment", "translation"], {"task": "translation"}, {"task": "other"}),
    ],
    "language": [
        ("zh", {"language": "zh-Hans"}, {"language": "mixed"}),
        ("zh", {"language": "zh-Hant"}, {"language": "en"}),
        (["zh", "en"], {"language": "en"}, {"language": "other"}),
        ("zh-Hant", {"language": "zh-Hant"}, {"language": "zh-Hans"}),
        (["mixed", "other"], {"language": "mixed"}, {"language": "zh-Hans"}),
    ],
    "service_class": [
        ("deferrable", {"service_class": "deferrable"}, {"service_class": "standard"}),
    ],
    "tenant": [
        ("acme", {"tenant": "acme"}, {"tenant": "acme2"}),
        (["acme", "商店"], {"tenant": "商店"}, {"tenant": "商"}),
    ],
    "team": [
        ("search", {"team": "search"}, {"team": None}),
        (["search", "crm"], {"team": "crm"}, {"team": "cr"}),
    ],
    "key": [("k1", {"key": "k1"}, {"key": "k2"})],
    "requested_model": [
        ("auto", {"requested_model": "auto"}, {"requested_model": "auto:best"}),
        (["auto:best", "m@f"], {"requested_model": "m@f"}, {"requested_model": "m"}),
    ],
    "complexity": [
        ({"above": 0.5}, {"complexity": 0.51}, {"complexity": 0.5}),
        ({"below": 0.5}, {"complexity": 0.0}, {"complexity": 0.5}),
        ({"above": 0, "below": 1}, {"complexity": 0.999}, {"complexity": 1.0}),
        ({"above": 0.2, "below": 0.4}, {"complexity": 0.3}, {"complexity": 0.2}),
    ],
    "tokens_in": [
        ({"above": 100}, {"tokens_in": 101}, {"tokens_in": 100}),
        ({"below": 100}, {"tokens_in": 0}, {"tokens_in": 100}),
        ({"above": 9, "below": 11}, {"tokens_in": 10}, {"tokens_in": 11}),
    ],
    "tags": [
        ({"data": "private"}, {"tags": {"data": "private", "x": "y"}}, {"tags": {}}),
        ({"data": ["a", "b"]}, {"tags": {"data": "b"}}, {"tags": {"data": "c"}}),
        (
            {"data": "a", "区域": ["北京", "上海"]},
            {"tags": {"data": "a", "区域": "上海"}},
            {"tags": {"data": "a"}},
        ),
    ],
    "needs": [
        ("tools", {"needs": ["json", "tools"]}, {"needs": ["json"]}),
        (["vision", "json"], {"needs": ["json"]}, {"needs": []}),
    ],
    "local_time": [
        (
            {"from": "09:00", "to": "17:30", "tz": "UTC"},
            {"at": "2026-01-05T09:00:00.000Z"},
            {"at": "2026-01-05T17:30:00.000Z"},
        ),
        (
            {"from": "22:00", "to": "06:00", "tz": "Asia/Shanghai"},
            {"at": "2026-01-05T14:00:00.000Z"},
            {"at": "2026-01-05T22:00:00.000Z"},
        ),
        (
            {"from": "22:00", "to": "06:00", "tz": "Asia/Shanghai"},
            {"at": "2026-01-05T21:59:59.999Z"},
            {"at": "2026-01-05T13:59:59.999Z"},
        ),
        (
            {"from": "05:00", "to": "06:00"},
            {"at": "2026-01-05T05:30:00.000Z"},
            {"at": "2026-01-05T04:59:00.000Z"},
        ),
    ],
}
ALL = [(name, *example) for name, examples in EXAMPLES.items() for example in examples]


def matches(name, written, facts):
    kind = CONDITIONS[name]
    return kind.matcher(kind.canonical(written))(facts_of(facts))


def test_every_condition_of_the_contract_has_examples():
    contract = (
        "tier task complexity language service_class tenant team key tags requested_model "
        "tokens_in needs local_time"
    )
    assert set(CONDITIONS) == set(EXAMPLES) == set(contract.split())


@pytest.mark.parametrize(("name", "written", "good", "bad"), ALL)
def test_a_condition_matches_what_it_says_and_nothing_else(name, written, good, bad):
    assert matches(name, written, good)
    assert bad is None or not matches(name, written, bad)


@pytest.mark.parametrize(("name", "written", "good", "bad"), ALL)
def test_a_condition_is_of_its_form_and_without_objections(name, written, good, bad):
    kind = CONDITIONS[name]
    assert list(Draft202012Validator(kind.schema).iter_errors(written)) == []
    assert list(kind.objections(written)) == []


@pytest.mark.parametrize(("name", "written", "good", "bad"), ALL)
def test_the_canonical_form_is_of_the_same_form_and_stays_as_it_is(name, written, good, bad):
    kind = CONDITIONS[name]
    canonical = kind.canonical(written)
    assert list(Draft202012Validator(kind.schema).iter_errors(canonical)) == []
    assert kind.canonical(canonical) == canonical


def test_chinese_means_either_script_and_every_other_language_itself():
    for language in LANGUAGES:
        assert matches("language", "zh", {"language": language}) == language.startswith("zh")
        assert matches("language", language, {"language": language})


def test_a_day_with_a_changed_clock_goes_by_the_clock_on_the_wall():
    night = {"from": "02:00", "to": "03:00", "tz": "Europe/Berlin"}
    spring = [f"2026-03-29T{hour:02}:30:00.000Z" for hour in (0, 1)]  # 01:30, then 03:30
    assert not any(matches("local_time", night, {"at": at}) for at in spring)
    autumn = [f"2026-10-25T{hour:02}:30:00.000Z" for hour in (0, 1)]  # 02:30 twice
    assert all(matches("local_time", night, {"at": at}) for at in autumn)


ZONES = ["UTC", "Asia/Shanghai", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"]
START = datetime(2026, 3, 28, tzinfo=UTC)
minutes = st.sampled_from([0, 1, 59, 60, 330, 719, 720, 721, 1320, 1439])


@given(minutes, minutes, st.sampled_from(ZONES), st.integers(0, 3 * 1440).map(lambda m: m * 60))
def test_an_interval_holds_what_walking_its_minutes_passes(start, end, zone, seconds):
    def clock(minute):
        return f"{minute // 60:02}:{minute % 60:02}"

    passed = set()
    minute = start
    while minute != end:
        passed.add(minute)
        minute = (minute + 1) % 1440
    at = START + timedelta(seconds=seconds)
    local = at.astimezone(ZoneInfo(zone))
    written = {"from": clock(start), "to": clock(end), "tz": zone}
    got = matches("local_time", written, {"at": at.isoformat().replace("+00:00", "Z")})
    assert got == (local.hour * 60 + local.minute in passed)


@pytest.mark.parametrize(
    ("zone", "such_as"),
    [
        ("Asia/Shangai", "Asia/Shanghai"),
        ("europe/berlin", "Europe/Berlin"),
        ("", "Asia/Shanghai"),
        ("../etc/passwd", "Asia/Shanghai"),
        ("/etc/passwd", "Asia/Shanghai"),
        ("北京", "Asia/Shanghai"),
        ("CST", "Asia/Shanghai"),
        ("BJT", "Asia/Shanghai"),
        ("cst", "Asia/Shanghai"),
        ("UTC+8", "Asia/Shanghai"),
        ("utc", "UTC"),
        ("Asia/Peking", "Asia/Shanghai"),
        ("Asia/Beijing", "Asia/Shanghai"),
        ("x" * 10_000, "Asia/Shanghai"),
    ],
)
def test_an_unknown_zone_is_told_with_one_that_would_be_valid(zone, such_as):
    written = {"from": "22:00", "to": "06:00", "tz": zone}
    ((where, said),) = CONDITIONS["local_time"].objections(written)
    assert where == ("tz",)
    assert said.startswith("unknown time zone `")
    assert said.endswith(f"(such as `{such_as}`)")
    assert len(said) < 100


@given(
    st.sampled_from(["complexity", "tokens_in"]),
    st.sampled_from([None, 0, 0.25, 0.5, 10, 11]),
    st.sampled_from([None, 0.25, 0.5, 1, 10, 11, 12]),
)
def test_bounds_are_refused_exactly_when_no_number_is_between_them(name, above, below):
    if name == "tokens_in" and {above, below} & {0.25, 0.5}:
        return
    written = {k: v for k, v in (("above", above), ("below", below)) if v is not None}
    pool = range(1001) if name == "tokens_in" else [n / 64 for n in range(64 * 20)]
    test = CONDITIONS[name].matcher(CONDITIONS[name].canonical(written))
    some = any(test(facts_of({name: number})) for number in pool)
    assert bool(list(CONDITIONS[name].objections(written))) == (not some)
