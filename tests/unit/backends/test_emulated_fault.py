"""Faults on request: how they are written, what is refused, and whom they strike."""

import re

import pytest

from backends.engines.emulated_fault import FAULTS, NoFault, of_fleet, of_json, of_request


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("reset", "reset after=0"),
        ("  reset   after=3 ", "reset after=3"),
        ("status", "status code=503"),
        ("status retry_after=7 code=429", "status code=429 retry_after=7"),
        ("garbage kind=html", "garbage kind=html"),
        ("delay ms=2.5", "delay ms=2.5"),
        ("usage kind=negative", "usage kind=negative"),
    ],
)
def test_a_fault_is_a_name_and_its_values(text, canonical):
    assert of_request(text).text == canonical
    assert of_request(canonical) == of_request(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown fault `` (known: cold,"),
        ("rest after=3", "unknown fault `rest` (did you mean `reset`? known: cold, delay, drip,"),
        ("reset afer=3", "`reset` has no `afer` (did you mean `after`? known: after)"),
        ("reset 3", "`3` is not of the form key=value"),
        ("reset after=x", "`after` of `reset` can't be `x`: it is a whole number from 0 to 100000"),
        ("reset after=-1", "a whole number from 0"),
        ("reset after=1.5", "a whole number from 0"),
        ("reset after=1 after=2", "`after` stands here twice"),
        ("delay ms=nan", "`ms` of `delay` can't be `nan`: it is a number from 0 to 86400000"),
        ("delay ms=inf", "a number from 0"),
        ("status code=200", "it is one of 429, 500, 502, 503, 504, 529"),
        ("garbage kind=xml", "it is one of http, json, html, utf8"),
        ("usage kind=wrong", "it is one of missing, doubled, twice, negative, huge"),
        ("reset share=0.5", "`reset` has no `share`"),
        ("cold", "`cold` is a fault of a fleet, not of a request"),
        ("interrupt notice=1", "`interrupt` is a fault of a fleet"),
        ("x" * 5000, "unknown fault `" + "x" * 60 + "` ("),
    ],
)
def test_a_mistyped_fault_of_a_request_is_told_what_is_right(text, said):
    with pytest.raises(NoFault, match=re.escape(said)):
        of_request(text)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", 'not a JSON object with a `fault` (`{"fault": "reset after=3"}`)'),
        (b"[]", "not a JSON object"),
        (b"{}", "not a JSON object with a `fault`"),
        (b'{"fault": 3}', "not a JSON object with a `fault`"),
        (b'{"fault": "rest"}', "did you mean `reset`?"),
        (b'{"fault": "reset", "shar": 1}', "unknown key `shar` (did you mean `share`?"),
        (b'{"fault": "reset", "share": "1"}', "`share` is not a number from 0 to 1"),
        (b'{"fault": "reset", "share": true}', "`share` is not a number from 0 to 1"),
        (b'{"fault": "reset", "share": 1.1}', "`share` of `reset` can't be `1.1`"),
        (b'{"fault": "reset", "count": 0}', "a whole number from 1"),
        (b'{"fault": "reset", "count": 1.0}', "a whole number from 1"),
        (b'{"fault": "reset share=0.5", "share": 0.5}', "`share` stands here twice"),
        (b'{"fault": "cold", "share": 0.5}', "`cold` strikes every request: it has no `share`"),
    ],
)
def test_a_mistyped_fault_of_a_fleet_is_told_what_is_right(raw, said):
    with pytest.raises(NoFault, match=re.escape(said)):
        of_json(raw, 0.0)


def test_json_and_text_ask_for_the_same():
    asked = b'{"fault": "reset after=3", "share": 0.25, "count": 5, "seed": 7}'
    assert of_json(asked, 1.0) == of_fleet("reset after=3 share=0.25 count=5 seed=7", 1.0)


def strikes(text, requests):
    rule = of_fleet(text, 0.0)
    return [rule.strike() is not None for _ in range(requests)]


def test_without_more_every_request_is_struck():
    assert strikes("reset", 5) == [True] * 5


def test_the_same_seed_strikes_the_same_requests_and_another_one_others():
    first = strikes("reset share=0.3 seed=1", 200)
    assert first == strikes("reset share=0.3 seed=1", 200)
    assert first != strikes("reset share=0.3 seed=2", 200)
    assert first[:50] == strikes("delay share=0.3 seed=1", 50)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_share_is_kept_to(share):
    struck = sum(strikes(f"reset share={share} seed=3", 4000))
    assert abs(struck - 4000 * share) < 4000 * 0.03
    assert struck == 4000 * share or share not in (0.0, 1.0)


def test_no_more_are_struck_than_counted():
    assert strikes("reset count=2", 5) == [True, True, False, False, False]
    assert sum(strikes("reset share=0.5 count=3 seed=9", 100)) == 3


def test_a_cold_start_and_an_interruption_have_their_phases():
    cold = of_fleet("cold seconds=10", 100.0)
    assert [cold.phase(at)[0] for at in (100.0, 109.9, 110.0)] == ["loading", "loading", "up"]
    assert cold.phase(104.0) == ("loading", 6.0)
    spot = of_fleet("interrupt notice=10 away=5", 0.0)
    at = [spot.phase(at)[0] for at in (0.0, 9.9, 10.0, 14.9, 15.0)]
    assert at == ["draining", "draining", "away", "away", "up"]
    assert spot.phase(12.0) == ("away", 3.0)
    assert spot.strike() is None
    assert of_fleet("reset", 0.0).phase(1.0)[0] == "up"


def test_what_is_in_force_is_shown_with_what_it_did():
    rule = of_fleet("reset after=1 share=0.5 seed=2", 0.0)
    for _ in range(10):
        rule.strike()
    shown = rule.shown()
    assert shown["fault"] == "reset after=1"
    assert (shown["share"], shown["count"], shown["seed"], shown["seen"]) == (0.5, None, 2, 10)
    assert 0 < shown["struck"] < 10
    assert of_fleet("cold", 0.0).shown() == {"fault": "cold seconds=30"}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_asked_for_by_its_name_alone(name):
    assert of_fleet(name, 0.0).fault.name == name
