"""The fleets and models that exist, as values. Text becomes these in ``backends.parse``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backends.base import SageMakerTarget
from backends.prices import Price, PriceBook
from backends.profiles import Profile
from backends.quality import QualityTable
from backends.router_cost import LOCAL, RouterCost
from backends.tariff import Tariff, Tranche, single

STAND_IN = "stand_in"  # a mark: the fleet is priced as its instance, and runs on another machine


@dataclass(frozen=True, slots=True)
class Model:
    """What answers. `quality` names its table; None: no table."""

    id: str
    context_tokens: int
    abilities: frozenset[str]
    languages: tuple[str, ...]
    quality: QualityTable | None


@dataclass(frozen=True, slots=True)
class Replicas:
    """Bounds of a fleet. `min` replicas are paid for always: they are its committed capacity."""

    min: int
    max: int
    concurrency_each: int
    scale_out_at: float


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Where a fleet's key is: in an environment variable, or in a secret of AWS Secrets Manager
    (of one that is JSON: in one of its fields). `at` is the `file:line` that says so.
    """

    source: Literal["env", "secret"]
    name: str
    json_field: str | None
    at: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Runs:
    """How a deployment makes the fleet. `weights`: ``s3://bucket/key``. `quantisation`, `kv_type`
    None: the default of its machines' family; `image` None: the one that goes with its engine.
    """

    on: Literal["sagemaker", "ecs", "eks"]
    weights: str
    quantisation: str | None = None
    kv_type: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """A model on an instance type with an engine, and how it is called.

    `price` None: unknown, then `fallback_usd_per_mtok` bounds what a request may cost. Of several
    tranches, `purchase` and `price` are the first one's.
    `api_key` says where its key is; the key is never here.
    """

    id: str
    model: Model
    lane: str
    engine: str
    kind: str
    urls: tuple[str, ...]
    upstream_model: str
    instance: str
    region: str
    purchase: str
    price: Price | None
    replicas: Replicas
    profile: Profile | None
    host_share: float = 1.0
    fallback_usd_per_mtok: float | None = None
    api_key: KeyRef | None = None
    context_tokens: int = 0  # of one request on this fleet: the model's, or less by launch settings
    marks: tuple[str, ...] = ()
    wake_seconds: int | None = None
    min_run_seconds: int | None = None
    tranches: tuple[Tranche, ...] = ()  # several purchase options; none: `purchase` at `price`
    sagemaker: SageMakerTarget | None = None  # of `kind: sagemaker` alone
    host: str | None = None  # the machine that it shares with the fleets of the same host
    runs: Runs | None = None  # None: it exists already

    @property
    def tariff(self) -> Tariff:
        return Tariff(self.tranches) if self.tranches else single(self.purchase, self.price)

    @property
    def emulated(self) -> bool:
        return self.kind == "emulated"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Fleets in the order written, which breaks the last ties."""

    fleets: tuple[Fleet, ...]
    models: Mapping[str, Model]
    hash: str
    compiled: Mapping[str, object]
    price_book: PriceBook
    router: RouterCost = LOCAL

    @property
    def prices(self) -> Mapping[str, object]:
        """Return the compiled price book."""
        return self.price_book.compiled

    @property
    def prices_version(self) -> str:
        return self.price_book.version

    def fleet(self, fleet_id: str) -> Fleet | None:
        return next((fleet for fleet in self.fleets if fleet.id == fleet_id), None)


def ready(fleet: Fleet) -> int:
    """Return the replicas that are taken to be ready: a static url is one, unless the catalogue
    says that more are always there. Those of a SageMaker endpoint are doors to it, no replicas.
    """
    urls = len(fleet.urls) if fleet.sagemaker is None else 1
    return max(1, fleet.replicas.min, urls)
