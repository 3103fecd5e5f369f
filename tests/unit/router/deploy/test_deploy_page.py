"""docs/deploy.md against the plan and the form of deploy.yaml."""

import re

from router.cli.deploy import command
from router.deploy.form import SCHEMA
from router.deploy.read import stages
from tools import deploy_page

TEXT = deploy_page.PAGE.read_text("utf-8")
STAGE = SCHEMA["properties"]["stages"]["additionalProperties"]["properties"]


def first_column(header):
    """Return what stands in backticks in the first column of the table that begins so."""
    rows = TEXT[TEXT.index(f"| {header} |") :].partition("\n\n")[0].splitlines()[2:]
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_costs_on_the_page_are_the_plan_s():
    made = deploy_page.table(deploy_page.plans())
    assert deploy_page.rewritten(TEXT, made) == TEXT, "python -m tools.deploy_page"


def test_figures_in_the_text_are_the_plan_s():
    dev = deploy_page.plans()["dev"]
    assert f"${dev.million_usd:,.0f} in dev" in TEXT
    assert dev.break_even.requests_per_hour is not None
    assert f"{round(dev.break_even.requests_per_hour, -2):,.0f} such requests" in TEXT


def test_the_keys_on_the_page_are_the_form_s():
    assert first_column("key of a stage") == set(STAGE)
    assert first_column("key of `router`") == set(STAGE["router"]["properties"])


def test_the_options_on_the_page_are_the_command_s():
    options = {param.opts[0] for param in command.params}
    assert first_column("key of `--plan`") == options - {"--plan"}


def test_the_page_says_of_each_size_what_it_is():
    assert first_column("size") == {stage.size for stage in stages(deploy_page.EXAMPLE).values()}
