"""What AppConfig asks before it deploys a version: `policy check`, and the cases of `policy test`.

Beside the code lies `config/`, as the bundle has it: `fleets.yaml`, `profiles/` and `prices.yaml`,
which the names of a policy are held against, and `cases/`. Of several case files the policy's is
the one that has its name. AppConfig refuses a version whose validator raises, and shows the message
(docs.aws.amazon.com/appconfig/latest/userguide/appconfig-creating-configuration-and-profile-validators.html).
"""

import base64
import binascii
from pathlib import Path
from typing import Any, Final

from aws_lambda_powertools import Logger

from backends import files
from backends.parse import Source
from policies.check import check
from policies.model import Policy
from router.policy_check import tried
from router.settings import environment
from router.sources import Sources, names_of
from yamlfile import Invalid, Problem

SERVICE: Final = "sluice-validator"
MOST_PROBLEMS: Final = 20  # of a message: whoever published sees them all with `policy check`
LAMBDA: Final = "lambda"


class PolicyRefused(Exception):  # noqa: N818  (what AppConfig shows before the message)
    """The message is what `sluice policy check` says."""


def handler(event: dict[str, Any], _context: Any) -> None:  # noqa: ANN401 (Lambda's context)
    """Raise PolicyRefused unless this version's policy is right."""
    known = environment()
    root = known.get("LAMBDA_TASK_ROOT")
    config = (Path(root) if root else Path(__file__).parents[2]) / "config"
    log = Logger(service=SERVICE)
    version = str(event.get("configurationVersion") or "?")
    frozen = known.get("SLUICE_ROUTER_ON") == LAMBDA
    try:
        policy, cases = judged(_text(event, version), f"version {version}", config, frozen=frozen)
    except Invalid as exc:
        log.warning("version %s is refused, %d problems", version, len(exc.problems))
        raise PolicyRefused(_said(exc)) from None
    log.info("version %s is %s %s, %d cases pass", version, policy.name, policy.hash, cases)


def judged(text: str, name: str, config: Path, *, frozen: bool) -> tuple[Policy, int]:
    """Return the policy and how many cases pass; raise yamlfile.Invalid with all that is wrong."""
    catalogue = files.catalogue(config / "fleets.yaml", config)
    report = check(text, name, names_of(catalogue))
    if report.policy is None:
        raise Invalid(report.problems)
    Sources(config, frozen=frozen, deployed=True).check(text, name, catalogue)
    found = _cases(config / "cases", report.policy.name)
    if found is None:
        return report.policy, 0
    cases, failed = tried(report.policy, found, catalogue)
    if failed:
        raise Invalid(Problem(name, said) for said in failed)
    return report.policy, cases


def _cases(folder: Path, name: str) -> Source | None:
    """Return the case file of this policy; None: there are no cases."""
    listed = sorted(folder.glob("*.yaml"))
    own = folder / f"{name}.yaml"
    if own not in listed:
        if len(listed) > 1:
            said = f"{len(listed)} case files, and none is called `{name}.yaml`"
            raise Invalid([Problem("config/cases", said)])
        if not listed:
            return None
        own = listed[0]
    return Source(f"config/cases/{own.name}", files.on_disk(own).text)


def _text(event: dict[str, Any], version: str) -> str:
    try:
        return base64.b64decode(event["content"], validate=True).decode()
    except (KeyError, TypeError, binascii.Error):
        said = "AppConfig sent no content in base64"
    except UnicodeDecodeError as exc:
        said = f"not UTF-8: {exc.reason} at byte {exc.start}"
    raise Invalid([Problem(f"version {version}:1", said)])


def _said(exc: Invalid) -> str:
    told = [str(problem) for problem in exc.problems[:MOST_PROBLEMS]]
    more = len(exc.problems) - len(told)
    return "\n".join(told + ([f"and {more} more: `sluice policy check`"] if more else []))
