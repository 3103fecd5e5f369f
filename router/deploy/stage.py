"""One stage of deploy.yaml, as it is once it has been checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backends.catalogue import Catalogue
from policies.model import Policy
from router.deploy.lane import Lane
from yamlfile import Problem

Partition = Literal["aws", "aws-cn", "aws-us-gov"]
Size = Literal["small", "prod"]
AuthMode = Literal["keys", "jwt", "iam"]
RunsOn = Literal["lambda", "fargate"]


@dataclass(frozen=True, slots=True)
class Domain:
    """`certificate`: the ARN of an ACM certificate of the stage's region. `zone`: the id of the
    Route 53 hosted zone that gets the record; None: the record is the owner's to make.
    """

    name: str
    certificate: str
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Compute:
    """Where the router runs. `provisioned`: environments kept warm; `memory_mb` of each.

    On Fargate `tasks` (least, most) of `memory_mb` and `cpu_units` each.
    """

    on: RunsOn = "lambda"
    memory_mb: int = 1024
    provisioned: int = 0
    tasks: tuple[int, int] = (2, 10)
    cpu_units: int = 1024


@dataclass(frozen=True, slots=True)
class LanesDomain:
    """Fleets on ECS and EKS are called `https://<fleet>.<domain>/v1`, inside the network alone.

    `certificate`: the ARN of one of ACM for `*.<domain>`, in the stage's region.
    """

    domain: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day, `HH:MM` from and to, in a time zone; to before from: over midnight."""

    from_: str
    to: str
    tz: str


@dataclass(frozen=True, slots=True)
class Deferrable:
    """Batches: `window` None: at any time. `at_once`: requests of all batches at a time."""

    window: Window | None = None
    at_once: int = 20


@dataclass(frozen=True, slots=True)
class Stage:
    """`name` is part of every resource's name. `catalogue` has only the fleets that this stage
    uses. `private`: the API is reached from `vpc_endpoints` alone. `usd_per_month`: what AWS
    Budgets watches; None: nothing. `warnings`: what looks odd or can't be checked.
    """

    name: str
    account: str
    region: str
    partition: Partition
    size: Size
    catalogue: Catalogue
    fleets_file: Path
    policy: Policy
    policy_file: Path
    cases: Path | None
    auth: tuple[AuthMode, ...]
    auth_config: Path | None
    domain: Domain | None
    private: bool
    alarm_email: str | None
    usd_per_month: int | None
    compute: Compute
    lanes: tuple[Lane, ...] = ()  # the fleets that the stage makes, in the catalogue's order
    lanes_domain: LanesDomain | None = None
    deferrable: Deferrable | None = None  # None: the stage takes no batches
    warnings: tuple[Problem, ...] = ()

    @property
    def in_china(self) -> bool:
        return self.partition == "aws-cn"

    @property
    def signed(self) -> bool:
        """Whether API Gateway asks callers for a signature of AWS. In China always: an API that
        lets others in needs an ICP licence of its owner.
        """
        return "iam" in self.auth or self.in_china

    @property
    def prefix(self) -> str:
        """Return what names begin with."""
        return f"sluice-{self.name}"
