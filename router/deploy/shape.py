"""The request that a plan is made for, and what a plan consists of."""

from dataclasses import dataclass
from typing import Literal

from backends.aws_prices import AwsPrice
from backends.points import Mark

MONTH_HOURS = 730  # as AWS's own calculator counts
MONTH_SECONDS = MONTH_HOURS * 3600
MONTH_MINUTES = MONTH_HOURS * 60
MILLION = 1_000_000
GB = 1_000_000_000
BYTES_PER_TOKEN = 4.5  # of a JSON body of English text
BYTES_PER_EVENT = 220  # one token of a stream, as vLLM and llama-server write it
SECONDS = 6.0  # 250 tokens at 23 ms each, and what comes before the first


@dataclass(frozen=True, slots=True)
class Shape:
    """`cold`: the share of requests that start a new environment of Lambda."""

    seconds: float = SECONDS
    tokens_in: int = 700
    tokens_out: int = 250
    cold: float = 0.005

    @property
    def bytes_in(self) -> float:
        return self.tokens_in * BYTES_PER_TOKEN

    @property
    def bytes_out(self) -> float:
        return self.tokens_out * BYTES_PER_EVENT


Per = Literal["month", "million"]


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` units of `price` a month of an idle stage, or per million requests.

    `quantity` None: it can't be said. `key`: how tests and the templates' coverage name the line;
    `mark` is the quantity's own.
    """

    key: str
    group: str
    what: str
    per: Per
    quantity: float | None
    price: AwsPrice
    mark: Mark = "stated"

    @property
    def usd(self) -> float | None:
        if self.quantity is None or self.price.usd is None:
            return None
        return self.quantity * self.price.usd


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many requests an hour on Fargate is cheaper; None: never, for these requests."""

    requests_per_hour: float | None
    fargate_usd_per_hour: float
    lambda_usd_per_request: float
    fargate_usd_per_request: float
