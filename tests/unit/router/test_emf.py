"""Lines of metrics, beside what AWS's own library writes of the same figures."""

import json

import pytest
from aws_lambda_powertools.metrics import EphemeralMetrics

from router.emf import UNITS, Form, Numbers, Process, form
from router.settings import namespace_of

SMALL, PROD = Form("Sluice", "dev"), Form("Sluice", "prod", by_fleet=True)
WHOLE = Numbers("c8g", 120.5, 900.25, 0.000001234, -0.5, overrun=True, profile_wrong=False)
QUIET = Process()
UNITS_OF_CLOUDWATCH = {"Count", "Milliseconds", "None"}


def line(numbers=WHOLE, status=200, process=QUIET, made=SMALL):
    return json.loads(made.line(1_795_255_200_123, status, numbers, process))


def figures(written):
    return {name: value for name, value in written.items() if name in UNITS}


def without_lists(written):
    """The library writes every figure as a list, and a dimension set by its names alone."""
    return {
        name: value[0] if isinstance(value, list) else value
        for name, value in written.items()
        if name != "_aws"
    }


@pytest.mark.parametrize("made", [SMALL, PROD])
def test_a_line_is_what_the_library_writes_of_the_same_figures(made):
    written = line(made=made)
    theirs = EphemeralMetrics(namespace="Sluice")
    theirs.add_dimension(name="stage", value=made.stage)
    if made.by_fleet:
        theirs.add_dimensions(stage=made.stage, fleet="c8g")
    for name, value in figures(written).items():
        theirs.add_metric(name, UNITS[name], value)
    expected = json.loads(json.dumps(theirs.serialize_metric_set()))
    assert without_lists(written) == without_lists(expected)
    (ours,), (other,) = (w["_aws"]["CloudWatchMetrics"] for w in (written, expected))
    assert [set(d) for d in ours.pop("Dimensions")] == [set(d) for d in other.pop("Dimensions")]
    assert ours == other


@pytest.mark.parametrize("made", [SMALL, PROD])
@pytest.mark.parametrize("numbers", [WHOLE, Numbers()])
def test_a_line_keeps_what_the_format_s_specification_asks_for(made, numbers):
    written = line(numbers, made=made)
    assert isinstance(written["_aws"]["Timestamp"], int)
    (directive,) = written["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert len(directive["Dimensions"]) >= 1
    for dimensions in directive["Dimensions"]:
        assert all(isinstance(written[name], str) and written[name] for name in dimensions)
    assert 1 <= len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert isinstance(written[metric["Name"]], int | float)
        assert metric["Unit"] in UNITS_OF_CLOUDWATCH
    assert len(json.dumps(written)) < 256 * 1024


def test_what_is_unknown_is_left_out_and_never_zero():
    written = line(Numbers("c8g", usd=0.0))
    assert written["UsdCharged"] == 0
    assert not {"TtftMs", "E2eMs", "UsdSaved", "ProfileWrong"} & set(written)
    named = {metric["Name"] for metric in written["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert named == set(figures(written))


@pytest.mark.parametrize(
    ("status", "numbers", "refused", "failed"),
    [
        (200, WHOLE, 0, 0),
        (402, Numbers(), 1, 0),
        (503, Numbers(), 1, 1),
        (502, WHOLE, 0, 1),
        (400, WHOLE, 0, 0),  # what the fleet said of the request
        (200, Numbers("c8g", broken=True), 0, 1),
        (None, WHOLE, 0, 0),
    ],
)
def test_a_refusal_is_what_no_fleet_was_asked_and_an_error_what_failed(
    status, numbers, refused, failed
):
    written = line(numbers, status)
    assert (written["Requests"], written["Refusals"], written["Errors"]) == (1, refused, failed)


def test_what_is_so_of_the_process_is_told():
    written = line(process=Process(2, 3, stale=True))
    told = (written["Unsettled"], written["ReceiptsLost"], written["PolicyStale"])
    assert told == (2, 3, 1)


def test_a_request_that_no_fleet_served_is_counted_by_stage_alone():
    written = line(Numbers(), 402, made=PROD)
    assert written["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage"]]
    assert "fleet" not in written


def test_the_environment_says_the_stage_and_how_much_is_counted():
    assert form("Sluice", {"SLUICE_STAGE": "dev"}) == SMALL
    more = {"SLUICE_STAGE": "prod", "SLUICE_METRIC_DIMENSIONS": "fleet"}
    assert form("Sluice", more) == PROD


@pytest.mark.parametrize("stage", [None, "", "a b", "é", "x" * 65])
def test_a_stage_that_is_none_is_told(stage):
    with pytest.raises(ValueError, match="set SLUICE_STAGE"):
        form("Sluice", {} if stage is None else {"SLUICE_STAGE": stage})


def test_other_dimensions_are_told_with_those_that_are_valid():
    with pytest.raises(ValueError, match=r"`tenant` is none \(valid: stage, fleet\)"):
        form("Sluice", {"SLUICE_STAGE": "dev", "SLUICE_METRIC_DIMENSIONS": "tenant"})


def test_a_namespace_is_read_from_the_setting():
    assert namespace_of("prometheus") is None
    assert namespace_of("emf:Sluice/dev") == "Sluice/dev"


@pytest.mark.parametrize("setting", ["emf", "emf:", "emf:AWS/Lambda", "emf:a b", "statsd:x", ""])
def test_another_way_to_tell_metrics_is_refused_with_what_is_valid(setting):
    with pytest.raises(ValueError, match=r"valid: `prometheus`, or `emf:NAMESPACE`"):
        namespace_of(setting)
