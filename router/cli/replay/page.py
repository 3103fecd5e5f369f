"""The report of a replay as one HTML file: no scripts, nothing from the network."""

from collections.abc import Callable, Iterator, Sequence

from matplotlib.figure import Figure

from router.cli.replay import charts
from router.cli.replay import tables as text
from router.cli.replay.columns import Cell, written
from router.cli.replay.drawing import escaped, styled, svg
from router.cli.replay.sankey import sankey
from router.cli.table import counted
from router.ledger.entry import stamp
from router.replay.bench import Found
from router.replay.burn import burns
from router.replay.outcome import Settings
from router.traces.trace import Trace

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC",
  "Microsoft YaHei", sans-serif; color: #1c1c1c; background: #fff; max-width: 1180px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { margin-top: 2.4rem; border-top: 1px solid #ddd;
  padding-top: 1rem; } h3 { margin: 1.4rem 0 .4rem; font-size: 1.05rem; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; border-bottom: 1px solid #e4e4e4; text-align: right;
  vertical-align: top; white-space: nowrap; }
th.l, td.l { text-align: left; } th { color: #444; white-space: normal; vertical-align: bottom; }
td.l:first-child, td.l:last-child { white-space: normal; overflow-wrap: break-word; }
td.l:first-child { min-width: 7em; max-width: 16em; } h1, h2, p, li { overflow-wrap: anywhere; }
.warning { background: #fff4e0; border-left: 4px solid #e69f00; padding: .5rem .8rem;
  margin: .5rem 0; }
code { font-size: .92em; } footer { color: #555; font-size: .9rem; margin-top: 2.5rem; }
"""
Draws = Callable[[], Figure]


def page(
    trace: Trace,
    found: Sequence[Found],
    against: Found | None,
    settings: Settings,
    warnings: Sequence[str],
) -> str:
    """Return the whole page; the same replay gives the same bytes."""
    everyone = [*found, *([] if against is None else [against])]
    title = f"Replay of {trace.name}"
    body = "\n".join(
        [
            f"<h1>{escaped(title)}</h1>",
            f"<p>{escaped(_about(trace, everyone))}</p>",
            *(f'<p class="warning" role="note">{escaped(line)}</p>' for line in warnings),
            *_figures(everyone, against, found),
            *_pictures_of_all(everyone),
            *(
                part
                for i, one in enumerate(everyone)
                for part in _of_policy(i, one, trace, settings)
            ),
            *_assumed(found, settings, trace),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _about(trace: Trace, found: Sequence[Found]) -> str:
    names = ", ".join(one.summary.policy for one in found)
    tokens_in, tokens_out = sum(trace.tokens_in), sum(trace.tokens_out)
    n, many = len(trace), counted(len(trace), "request")
    return (
        f"{many} in {text.duration(trace.seconds)}, from {stamp(trace.start_s)}; on "
        f"average {tokens_in / n:,.0f} tokens in and {tokens_out / n:,.0f} out. Policies: {names}. "
        "Every request was decided by the router's own code over simulated fleets."
    )


# -- all policies ----------------------------------------------------------------------------------


def _figures(
    everyone: Sequence[Found], against: Found | None, found: Sequence[Found]
) -> Iterator[str]:
    yield "<h2>What it comes to</h2>"
    yield _table(text.POLICIES, [text.policy_row(one) for one in everyone])
    yield (
        "<p>Total = the fleets' bill, idle time included, + the router. The baseline is one fleet "
        "alone that serves as many requests in time. In SLO: the share of <em>all</em> requests "
        "that were served within the objectives of their rule. Percentiles are exact, of the "
        "served.</p>"
    )
    if against is not None:
        yield from (f"<p>{escaped(text.delta_line(one, against))}</p>" for one in found)


def _pictures_of_all(found: Sequence[Found]) -> Iterator[str]:
    with_curve = [one for one in found if one.curve]
    if with_curve:
        yield "<h2>Saving over the simple share</h2>"
        yield _picture(
            "saving",
            "Saving and whole bill over the share of simple requests, by policy",
            "The trace doesn't tell which of its requests are simple. So one figure would repeat "
            "what was assumed; this is what every assumption gives, from the same draws.",
            lambda: charts.savings(with_curve),
        )
    if any(one.rivals for one in found):
        yield "<h2>Cost against quality</h2>"
        yield _picture(
            "pareto",
            "Whole bill against expected quality, of the policies and their rivals",
            "Up and to the left is better. Rivals (hollow, in the colour of the policy that they "
            "are held against) ran over the same fleets, with the same queues. Quality is "
            "predicted: a large model's answer counts as the baseline's.",
            lambda: charts.pareto(found),
        )
    yield "<h2>Times</h2>"
    yield _picture(
        "times",
        "Distribution of the time to the first token and end to end, by policy",
        "The grey line is at 95 %.",
        lambda: charts.latencies(found),
    )


# -- one policy ------------------------------------------------------------------------------------


def _of_policy(i: int, one: Found, trace: Trace, settings: Settings) -> Iterator[str]:
    of, name = one.summary, one.summary.policy
    yield f"<h2>{escaped(name)} <code>{escaped(of.hash)}</code></h2>"
    yield f"<p>{escaped(text.baseline_line(one))}.</p>"
    yield _picture(
        f"cost-{i}",
        f"{name}: the bill over time by fleet, and how much of it was used",
        "A bill is what replicas cost, whether they work or not.",
        lambda: charts.cost_over_time(one, settings.look_s),
    )
    yield _table(text.FLEETS, text.fleet_rows(of))
    yield _picture(
        f"sizes-{i}",
        f"{name}: replicas and requests in flight over time, by fleet",
        "",
        lambda: charts.fleet_sizes(one, settings.look_s),
    )
    yield "<h3>Who went where</h3>"
    yield _picture(
        f"ways-{i}",
        f"{name}: requests by task, rule and fleet",
        "As wide as there were requests; in the colour of the fleet that served.",
        lambda: sankey(of.flows, [row.fleet for row in of.by_fleet]),
    )
    yield _table(text.RULES, text.rule_rows(of))
    if of.refusals:
        said = ", ".join(f"{code} {count:,}" for code, count in of.refusals.items())
        yield f"<p>Refused {of.refused:,} ({escaped(said)}), timed out {of.timed_out:,}.</p>"
    yield from _budgets(i, one, trace, settings)
    if one.rivals:
        yield "<h3>Beside simple rules</h3>"
        yield _table(text.RIVALS, [text.rival_row(rival) for rival in one.rivals])
    if one.curve:
        yield "<h3>By simple share</h3>"
        yield _table(text.CURVE, text.curve_rows(one))


def _budgets(i: int, one: Found, trace: Trace, settings: Settings) -> Iterator[str]:
    burned = burns(one.at.policy, trace, one.run, settings.look_s)
    if burned:
        yield "<h3>Budgets</h3>"
        yield _picture(
            f"budgets-{i}",
            f"{one.summary.policy}: what the fullest budgets had spent by when",
            "Each budget, value and period apart, the fullest first.",
            lambda: charts.budget_burn(burned),
        )
    if one.summary.budgets:
        yield _table(text.BUDGETS, text.budget_rows(one.summary))
    if one.summary.budgets_left_out:
        yield f"<p>{escaped(text.budgets_left_out(one.summary))}</p>"


def _assumed(found: Sequence[Found], settings: Settings, trace: Trace) -> Iterator[str]:
    yield "<h2>What was assumed</h2>"
    said = [f"trace: {trace.name}", *text.assumptions(found)]
    yield "<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in said) + "</ul>"
    yield (
        f"<footer>Seed {settings.seed}; made by <code>sluice replay</code>. The same trace, "
        "policies, fleets and seed give the same page.</footer>"
    )


# -- parts -----------------------------------------------------------------------------------------


def _picture(name: str, title: str, caption: str, draws: Draws) -> str:
    with styled(name):
        drawn = svg(draws(), name, title)
    below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
    return f"<figure>\n{drawn}\n{below}</figure>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    sides = [' class="l"' if name in text.LEFT else "" for name in head]

    def line(cells: Sequence[str], tag: str) -> str:
        pairs = zip(cells, sides, strict=True)
        return "".join(f"<{tag}{side}>{escaped(cell)}</{tag}>" for cell, side in pairs)

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in written(rows))
    top = f"<thead><tr>{line(head, 'th')}</tr></thead>"
    return f'<div class="wide"><table>{top}\n<tbody>\n{body}\n</tbody></table></div>'
