"""The limits of budgets in force on AWS: those of the policy that was deployed to its end.

While a version goes out, some routers have it and some don't; where an alarm rings it is taken
back. Were each router to put its policy's limits in force, they would change with every start of
one, and those of a version that was taken back would stay. So budgets hold as they were until the
deployment is over, the time in which it bakes included; the sweeper looks each minute.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from backends import files
from policies.parse import parse
from router.ledger.port import Limit
from router.sources import names_of
from router.treasury import limits_of
from yamlfile import Invalid

OVER: Final = frozenset({"COMPLETE", "ROLLED_BACK", "REVERTED"})  # as AppConfig says it
PAGES: Final = 20  # of 50 deployments each


class CantBeTold(Exception):  # noqa: N818  (what it says)
    """AppConfig doesn't tell what is in force, or it is nothing that can be read."""


class Adopts(Protocol):
    """What is asked of the ledger."""

    def adopt(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Deployed:
    """AppConfig by boto3's clients of its two planes; `errors` are what they raise. `place`: the
    ids of application, environment and profile.
    """

    control: Any
    plane: Any
    errors: tuple[type[Exception], ...]
    place: tuple[str, str, str]

    def last(self) -> tuple[int, str] | None:
        """Return number and state of the last deployment; None: there was none."""
        application, environment, _ = self.place
        asked = {"ApplicationId": application, "EnvironmentId": environment}
        found: list[tuple[int, str]] = []
        more: dict[str, str] = {}
        for _ in range(PAGES):
            page = self.control.list_deployments(**asked, **more)
            found += [(int(one["DeploymentNumber"]), one["State"]) for one in page["Items"]]
            if not page.get("NextToken"):
                break
            more = {"NextToken": page["NextToken"]}
        return max(found, default=None)

    def text(self) -> str:
        """Return what every router is given while no deployment is under way."""
        application, environment, profile = self.place
        session = self.plane.start_configuration_session(
            ApplicationIdentifier=application,
            EnvironmentIdentifier=environment,
            ConfigurationProfileIdentifier=profile,
        )
        token = session["InitialConfigurationToken"]
        answer = self.plane.get_latest_configuration(ConfigurationToken=token)
        content: bytes = answer["Configuration"].read()
        return content.decode()


class InForce:
    """`config` is the bundle's folder with the fleets; `now` is in seconds since 1970."""

    def __init__(
        self, deployed: Deployed, ledger: Adopts, config: Path, now: Callable[[], float]
    ) -> None:
        self._deployed, self._ledger, self._config, self._now = deployed, ledger, config, now
        self._seen: tuple[int, str] | None = None

    def look(self) -> str | None:
        """Put the limits of the policy in force where they are not; return its hash if they were
        others. Raises CantBeTold and LedgerUnavailable.
        """
        try:
            last = self._deployed.last()
            if last is None or last == self._seen or last[1] not in OVER:
                return None
            text = self._deployed.text()
            catalogue = files.catalogue(self._config / "fleets.yaml", self._config)
            policy = parse(text, "the policy in force", names_of(catalogue))
        except self._deployed.errors as exc:
            response = getattr(exc, "response", None) or {}
            code = response.get("Error", {}).get("Code", type(exc).__name__)
            raise CantBeTold(f"AppConfig does not tell what is in force ({code})") from None
        except (Invalid, UnicodeDecodeError, OSError) as exc:
            raise CantBeTold(str(exc)) from None
        changed = self._ledger.adopt(limits_of(policy), policy.hash, self._now())
        self._seen = last
        return policy.hash if changed else None
