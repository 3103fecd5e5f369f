"""Putting policies in force on AWS AppConfig: versions, who made them and why, deployments.

For the command line: boto3 (of the extra `aws`) is imported by whoever opens it. A version's
description is JSON, so that who and why can be read back: it travels in an HTTP header, which
takes neither Chinese nor line breaks, and JSON's escapes do without both.

AppConfigFailed
* Unknown     a name that AppConfig doesn't know, or a reason that it can't keep
* Refused     AppConfig, or one of its validators, says no
* Unasked     it can't be asked, or not as this identity
(and router.faults.MissingPart: boto3 is not installed)
"""

import contextlib
import getpass
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from router.appconfig_place import Place
from router.faults import MissingPart
from router.ledger.entry import stamp
from yamlfile import suggest

CONNECT_S, READ_S, ATTEMPTS = 3.0, 20.0, 3
MOST_DESCRIPTION: Final = 1024
CONTENT_TYPE: Final = "application/json"
AT_ONCE: Final = "AppConfig.AllAtOnce"  # AWS's own: everybody at once, 10 minutes of baking
THEIRS: Final = "AppConfig."  # what AWS's own strategies begin with
UNDER_WAY: Final = frozenset({"VALIDATING", "DEPLOYING", "BAKING"})
IN_FORCE: Final = frozenset({"BAKING", "COMPLETE"})
TAKEN_BACK: Final = frozenset({"ROLLED_BACK", "REVERTED"})

Answer = Mapping[str, Any]


class AppConfigFailed(Exception):  # noqa: N818  (its parts read as what they say)
    pass


class Unknown(AppConfigFailed):
    pass


class Refused(AppConfigFailed):
    pass


class Unasked(AppConfigFailed):
    pass


@dataclass(frozen=True, slots=True)
class Note:
    """What a version says of itself. `back_to`: the version whose policy this one is again."""

    who: str
    why: str
    policy: str = ""
    hash: str = ""
    back_to: int | None = None

    def text(self) -> str:
        """Return it as AppConfig keeps it. Raises Unknown if it is too long."""
        said: dict[str, object] = {
            "who": self.who, "why": self.why, "policy": self.policy, "hash": self.hash,
        }  # fmt: skip
        if self.back_to is not None:
            said["back_to"] = self.back_to
        text = json.dumps(said)
        if len(text) > MOST_DESCRIPTION:
            raise Unknown(
                f"`--why` is too long: with who it is and the policy's name it takes {len(text)} "
                f"characters of {MOST_DESCRIPTION} (one outside of ASCII takes six)"
            )
        return text


def note_of(description: str) -> Note:
    """Return what a description says; one that somebody else wrote is the reason."""
    try:
        said = json.loads(description)
        back_to = said.get("back_to")
        who, why, policy, content_hash = (said[k] for k in ("who", "why", "policy", "hash"))
    except (ValueError, AttributeError, KeyError):
        return Note("", description)
    back_to = back_to if isinstance(back_to, int) else None
    return Note(str(who), str(why), str(policy), str(content_hash), back_to)


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    note: Note

    def __str__(self) -> str:
        who = f" by {self.note.who}" if self.note.who else ""
        return f"version {self.number}{who}{f': {self.note.why}' if self.note.why else ''}"

    def told(self, to: str) -> str:
        """Return which version it is, who published it and why, as said to this publisher."""
        who, why = self.note.who, self.note.why
        by = f", which {'you' if who == to else who} published" if who else ""
        return f"version {self.number}{by}" + (f' ("{why}")' if why else "")


@dataclass(frozen=True, slots=True)
class Deployment:
    """`version` of the profile; `event`: what AppConfig says happened last; `at`: when it began,
    RFC 3339.
    """

    number: int
    version: str
    profile: str
    state: str
    percent: float
    event: str = ""
    at: str = ""


class Control:
    """One profile in one environment, called as any AWS tool is. Raises as the module says.

    `region` None: the one of boto3, which reads AWS_DEFAULT_REGION and profiles, not AWS_REGION.
    """

    def __init__(
        self, place: Place, region: str | None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        try:
            import botocore.exceptions  # noqa: PLC0415  (optional and slow)
            from boto3.session import Session  # noqa: PLC0415  (as above)
            from botocore.config import Config  # noqa: PLC0415  (as above)
        except ImportError:
            raise MissingPart("`--to appconfig:` needs boto3: install `sluice[aws]`") from None
        self._errors = botocore.exceptions
        self.place, self._sleep = place, sleep
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        with self._asking("open"):
            session: Any = Session(region_name=region)
            self._client: Any = session.client("appconfig", config=config)
            self._identity: Any = session.client("sts", config=config)
        listed = self._client.list_applications, place.application
        application = self._named("application", *listed)
        self._application = application["Name"]
        inside = {"ApplicationId": application["Id"]}
        listed = self._client.list_environments, place.environment
        environment = self._named("environment", *listed, **inside)
        listed = self._client.list_configuration_profiles, place.profile
        profile = self._named("configuration profile", *listed, **inside)
        self.profile_id = str(profile["Id"])
        self._in_environment = {**inside, "EnvironmentId": environment["Id"]}
        self._of_profile = {**inside, "ConfigurationProfileId": self.profile_id}

    def who(self) -> str:
        """Return the ARN that calls are made as, else the name of this machine's user."""
        with contextlib.suppress(self._errors.ClientError, self._errors.BotoCoreError):
            return str(self._identity.get_caller_identity()["Arn"])
        try:
            return getpass.getuser()
        except (OSError, KeyError):  # KeyError: before Python 3.13
            return "unknown"

    def account(self) -> str:
        """Return the account that calls are made in."""
        with self._asking("say whose account it is called in"):
            return str(self._identity.get_caller_identity()["Account"])

    # -- versions ----------------------------------------------------------------------------------

    def versions(self) -> list[Version]:
        """Return them all, the newest first."""
        found = self._all(self._client.list_hosted_configuration_versions, **self._of_profile)
        versions = [Version(v["VersionNumber"], note_of(v.get("Description", ""))) for v in found]
        return sorted(versions, key=lambda version: version.number, reverse=True)

    def content(self, number: int) -> str:
        """Return a version's text. Raises Refused if it is no text."""
        with self._asking(f"read version {number}"):
            answer = self._client.get_hosted_configuration_version(
                **self._of_profile, VersionNumber=number
            )
            content: bytes = answer["Content"].read()
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Refused(f"version {number} is no UTF-8 text") from None

    def create(self, text: str, note: Note, after: int | None) -> int:
        """Make a version that follows `after` (None: the first); return its number.

        Raises Refused with who published what, where another one came between.
        """
        lock = {} if after is None else {"LatestVersionNumber": after}
        try:
            with self._asking("make a version"):
                answer = self._client.create_hosted_configuration_version(
                    **self._of_profile,
                    Content=text.encode(),
                    ContentType=CONTENT_TYPE,
                    Description=note.text(),
                    **lock,
                )
        except _Conflict:
            raise Refused(self._came(after or 0, note)) from None
        return int(answer["VersionNumber"])

    def delete(self, version: Version) -> None:
        with self._asking(f"delete version {version.number}"):
            self._client.delete_hosted_configuration_version(
                **self._of_profile, VersionNumber=version.number
            )

    # -- deployments -------------------------------------------------------------------------------

    def strategy(self, name: str | None) -> str:
        """Return the id of the strategy of this name or id; None: the one that a stage's stack
        makes, `<application>-linear`.
        """
        wanted = name or f"{self._application}-linear"
        if wanted.startswith(THEIRS):
            return wanted  # AWS's own are called by their names
        listed = self._all(self._client.list_deployment_strategies)
        found = [s["Id"] for s in listed if wanted in (s["Id"], s["Name"])]
        if not found:
            known = suggest(wanted, [s["Name"] for s in listed])
            raise Unknown(f"unknown strategy `{wanted}` {known}: say which by `--strategy`")
        return str(found[0])

    def deployments(self) -> list[Deployment]:
        """Return those of the environment, of every profile, the newest first."""
        found = self._all(self._client.list_deployments, **self._in_environment)
        listed = [
            Deployment(
                one["DeploymentNumber"], str(one.get("ConfigurationVersion", "")),
                str(one.get("ConfigurationProfileId", "")), one["State"],
                one.get("PercentageComplete", 0.0), at=_moment(one.get("StartedAt")),
            )
            for one in found
        ]  # fmt: skip
        return sorted(listed, key=lambda one: one.number, reverse=True)

    def running(self) -> Deployment | None:
        """Return the environment's deployment under way: there is at most one."""
        return next((one for one in self.deployments() if one.state in UNDER_WAY), None)

    def start(self, version: int, strategy: str, note: Note) -> Deployment:
        """Begin to deploy a version. Raises Refused with what the validators say."""
        try:
            with self._asking(f"deploy version {version}"):
                answer = self._client.start_deployment(
                    **self._in_environment,
                    DeploymentStrategyId=strategy,
                    ConfigurationProfileId=self.profile_id,
                    ConfigurationVersion=str(version),
                    Description=note.text(),
                )
        except _Conflict as exc:
            raise Refused(f"version {version} is there but not deployed: {exc}") from None
        return _told(answer)

    def stop(self, deployment: Deployment) -> Deployment:
        """Stop one under way: AppConfig goes back to what was deployed before."""
        # Without AllowRevert only one that still grows may be stopped, not one that bakes.
        revert = {"AllowRevert": True} if deployment.state == "BAKING" else {}
        with self._asking(f"stop deployment {deployment.number}"):
            answer = self._client.stop_deployment(
                **self._in_environment, DeploymentNumber=deployment.number, **revert
            )
        return _told(answer)

    def watch(self, number: int, every_s: float) -> Iterator[Deployment]:
        """Yield the deployment, again and again, until it is in force or taken back."""
        while True:
            deployment = _told(self._deployment(number))
            yield deployment
            if deployment.state in IN_FORCE | TAKEN_BACK:
                return
            self._sleep(every_s)

    # -- calls -------------------------------------------------------------------------------------

    def _came(self, after: int, note: Note) -> str:
        """Say what was published since the version that a publisher started from."""
        came = [one for one in self.versions() if one.number > after]
        if not came:
            return "another version came meanwhile: publish again"
        newest, said = came[0].number, "; ".join(one.told(note.who) for one in reversed(came))
        again = f"publish with `--from {newest}`" if note.back_to is None else "go back again"
        look = f"`sluice policy show {newest} --to {self.place}`"
        since = f"since version {after}" if after else "meanwhile"
        return f"came {since}: {said}. Look at it ({look}), then {again}"

    def _deployment(self, number: int) -> Answer:
        with self._asking(f"look at deployment {number}"):
            found: Answer = self._client.get_deployment(
                **self._in_environment, DeploymentNumber=number
            )
            return found

    def _named(self, kind: str, call: Callable[..., Answer], wanted: str, **where: str) -> Answer:
        """Return the item of this name or id."""
        listed = self._all(call, **where)
        for one in listed:
            if wanted in (one["Id"], one["Name"]):
                return one
        known = suggest(wanted, [one["Name"] for one in listed])
        raise Unknown(f"{self.place}: unknown {kind} `{wanted}` {known}")

    def _all(self, call: Callable[..., Answer], **where: object) -> list[Answer]:
        """Return the items of every page."""
        found: list[Answer] = []
        more: dict[str, object] = {}
        while True:
            with self._asking("list"):
                page = call(**where, **more)
            found += page.get("Items", [])
            if not page.get("NextToken"):
                return found
            more = {"NextToken": page["NextToken"]}

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Tell what goes wrong in our words."""
        errors = self._errors
        try:
            yield
        except errors.NoRegionError:
            raise Unasked("no region: set AWS_REGION") from None
        except errors.NoCredentialsError:
            raise Unasked("no AWS credentials: set them as for any AWS tool") from None
        except errors.ClientError as exc:
            raise _failure(exc.response, what) from None
        except (errors.BotoCoreError, ValueError) as exc:  # ValueError: an endpoint that is none
            raise Unasked(f"AppConfig can't be asked to {what} ({type(exc).__name__})") from None


class _Conflict(Refused):
    pass


def _failure(response: Answer, what: str) -> AppConfigFailed:
    """Return the failure that an answer means; validators' words stay as they are."""
    error = response.get("Error", {})
    code, message = error.get("Code", ""), error.get("Message", "")
    if code == "ConflictException":
        return _Conflict(f"AppConfig refuses to {what}: {message}")
    if code in ("BadRequestException", "PayloadTooLargeException", "ServiceQuotaExceededException"):
        details = response.get("Details", {}).get("InvalidConfiguration", [])
        reasons = [" ".join(filter(None, map(one.get, ("Location", "Reason")))) for one in details]
        return Refused("\n".join([f"AppConfig refuses to {what}: {message or code}", *reasons]))
    if code == "ResourceNotFoundException":
        return Unknown(f"AppConfig can't {what}: {message or 'it is not there'}")
    said = f"AppConfig can't be asked to {what}: {code}"
    if code in ("AccessDeniedException", "AccessDenied"):
        said += " (the identity needs `appconfig:*` on this application)"
    return Unasked(said)


def _moment(at: datetime | None) -> str:
    """Return a moment as boto3 tells it; `` where it tells none."""
    return "" if at is None else stamp(at.timestamp())


def _told(answer: Answer) -> Deployment:
    log = answer.get("EventLog") or [{}]  # the newest event first
    return Deployment(
        answer["DeploymentNumber"],
        str(answer.get("ConfigurationVersion", "")),
        str(answer.get("ConfigurationProfileId", "")),
        answer["State"],
        answer.get("PercentageComplete", 0.0),
        str(log[0].get("Description", "")),
        _moment(answer.get("StartedAt")),
    )
