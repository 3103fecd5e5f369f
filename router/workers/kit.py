"""What every worker has: its settings, a log of JSON lines, metrics in EMF."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.metrics import MetricUnit

from router.runtime import LOG
from router.settings import WorkerSettings, environment, worker

PREFIX: Final = "sluice-"
Event = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kit:
    """`settings` are read once, at a cold start."""

    settings: WorkerSettings
    log: Logger
    metrics: Metrics

    def count(self, name: str, value: float) -> None:
        self.metrics.add_metric(name, MetricUnit.Count, value)

    def milliseconds(self, name: str, value: float) -> None:
        self.metrics.add_metric(name, MetricUnit.Milliseconds, value)

    def in_use(self, fleet: str, percent: float) -> None:
        """Write at once how full a fleet is: what scales it doesn't wait for the minute's end."""
        single = single_metric(
            name="InUse",
            unit=MetricUnit.Percent,
            value=percent,
            namespace=self.settings.namespace,
            default_dimensions={"stage": self.settings.stage, "fleet": fleet},
        )
        with single:
            pass

    @contextmanager
    def told(self) -> Iterator[None]:
        """Write the metrics of one invocation, however it ends."""
        try:
            yield
        finally:
            if self.metrics.metric_set:
                self.metrics.flush_metrics()


def opened(name: str) -> Kit:
    """Build the kit of the worker `name`. Raises ValueError: a variable is not set."""
    settings = worker(environment())
    log = Logger(service=f"{PREFIX}{name}")
    # what the router's own code says goes out in the same form
    copy_config_to_registered_loggers(source_logger=log, include={LOG.name})
    metrics = Metrics(namespace=settings.namespace)
    metrics.set_default_dimensions(stage=settings.stage)
    return Kit(settings, log, metrics)
