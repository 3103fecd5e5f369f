"""Write the costs into docs/deploy.md anew, from the plan of infra/examples.

    .venv/bin/python -m tools.deploy_page

A test holds the page against it.
"""

from pathlib import Path

from backends import aws_prices, files
from router.deploy.plan import Plan, plan
from router.deploy.read import stages

PAGE = Path("docs/deploy.md")
EXAMPLE = Path("infra/examples/deploy.yaml")
BEGINS, ENDS = "| group | ", "\n\n"
PEERS = "378-385"


def plans() -> dict[str, Plan]:
    """Return the plans of the example's stages, by name."""
    source = files.packaged("backends", "data", "aws.yaml")
    prices = aws_prices.read(source.text, source.name)
    return {name: plan(stage, prices) for name, stage in stages(EXAMPLE).items()}


def table(found: dict[str, Plan]) -> str:
    """Return the idle costs of small and prod by group, beside the peers'."""
    dev, prod = found["dev"], found["prod"]
    rows = [f"| {group} | {_idle(dev, group)} | {_idle(prod, group)} | |" for group in prod.groups]
    return "\n".join(
        [
            "| group | dev (small), $ a month | prod, $ a month | peers, $ a month |",
            "|---|--:|--:|--:|",
            *rows,
            f"| **idle** | **{dev.idle_usd:,.2f}** | **{prod.idle_usd:,.2f}** | {PEERS} |",
            f"| per 1,000,000 requests | {dev.million_usd:,.2f} | {prod.million_usd:,.2f} | |",
        ]
    )


def _idle(found: Plan, group: str) -> str:
    return f"{found.groups[group][0]:,.2f}" if group in found.groups else "-"


def rewritten(text: str, made: str) -> str:
    """Return the page with this table in the place of the one it has."""
    start = text.index(BEGINS)
    return text[:start] + made + text[text.index(ENDS, start) :]


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(rewritten(PAGE.read_text("utf-8"), table(plans())), "utf-8")


if __name__ == "__main__":
    main()
