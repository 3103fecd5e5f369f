import pytest

from router.plan.slo import BadSlo, Slo, parse_slo


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("ttft_p95=300ms", Slo(300.0, None)),
        ("e2e_p95=1.5s", Slo(None, 1500.0)),
        (" ttft_p95 = 2s , e2e_p95=1m ", Slo(2000.0, 60_000.0)),
    ],
)
def test_an_slo_is_read(text, slo):
    assert parse_slo(text) == slo
    assert parse_slo(str(slo)) == slo


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`` is no limit (valid: `ttft_p95=300ms`"),
        ("ttft=300ms", "`ttft=300ms` is no limit"),
        ("ttft_p95", "`ttft_p95` is no limit"),
        ("ttft_p95=300", "`300` is no time (a number above 0 with its unit"),
        ("ttft_p95＝3s", "`＝` is a full-width sign: write `=` (valid: "),
        ("ttft_p95=3s，e2e_p95=60s", "`，` is a full-width sign: write `,` (valid: "),
        ("ttft_p95=0ms", "`0ms` is no time"),
        ("ttft_p95=-1s", "`-1s` is no time"),
        ("ttft_p95=1s,ttft_p95=2s", "`ttft_p95` stands twice"),
    ],
)
def test_what_is_no_slo_is_told_with_what_would_be(text, said):
    with pytest.raises(BadSlo) as caught:
        parse_slo(text)
    assert said in str(caught.value)


def test_an_unknown_time_keeps_to_no_limit():
    assert not Slo(300.0).met(None, 10.0)
    assert Slo(300.0).met(300.0, None)
