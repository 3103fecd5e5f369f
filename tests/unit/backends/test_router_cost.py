"""What the router itself costs, by where it runs."""

import pytest

import yamlfile
from backends import files, parse
from backends.router_cost import LOCAL, read

FILE = files.packaged("backends", "data", "router.yaml")


def test_on_lambda_a_request_costs_its_fixed_part_and_the_time_it_is_open():
    cost = files.router("lambda")
    # $0.20 + $3.50 + 12 x $0.625 + 5 kB x $0.029/GB + 1.5 kB x $0.50/GB, per million requests
    assert cost.usd(None) * 1e6 == pytest.approx(0.20 + 3.50 + 7.50 + 0.145 + 0.75)
    # 1,024 MB for ten seconds
    assert cost.usd(10_000) - cost.usd(0) == pytest.approx(10 * 0.0000133334)


def test_a_function_with_more_memory_costs_more_by_the_second_and_no_more_by_the_request():
    cost, twice = files.router("lambda"), files.router("lambda", memory_gb=2)
    assert twice.usd(None) == cost.usd(None)
    assert twice.usd_per_second == pytest.approx(2 * cost.usd_per_second)
    assert files.router("fargate", memory_gb=2) == files.router("fargate")


def test_on_fargate_a_request_costs_its_stores_and_logs_whatever_its_time():
    cost = files.router("fargate")
    assert cost.usd(None) * 1e6 == pytest.approx(7.50 + 0.145 + 0.50)
    assert cost.usd(10_000) == cost.usd(None)


def test_locally_the_router_costs_nothing():
    assert files.router("local") == LOCAL
    assert LOCAL.usd(10_000) == 0


def test_an_unknown_place_is_told_with_those_that_are_known():
    with pytest.raises(yamlfile.Invalid, match=r"unknown place `lamda` .*lambda"):
        files.router("lamda")


def test_every_line_has_a_date_a_source_and_a_mark():
    for line in (*files.router("lambda").lines, *files.router("fargate").lines):
        assert line.as_of
        assert line.source
        assert line.mark in {"stated", "assumed"}


def test_a_line_without_a_source_is_refused():
    text = FILE.text.replace('source: "AWS Lambda pricing, us-east-1", ', "")
    with pytest.raises(yamlfile.Invalid, match="`source` is missing"):
        read(text, "router.yaml", "lambda")


def test_the_catalogue_of_another_place_has_another_hash_and_comes_back_from_its_version():
    local, on_lambda = files.catalogue(None), files.catalogue(None, place="lambda")
    assert local.hash != on_lambda.hash
    again = parse.from_compiled(on_lambda.compiled, on_lambda.prices)
    assert again.hash == on_lambda.hash
    assert again.router == on_lambda.router
