"""What can be wrong with a stage by itself: its place, what runs it, who may call it. Pure."""

import re
from collections.abc import Iterator

from backends.availability import PARTITIONS, Offers, partition_of
from router.deploy import adapter
from router.deploy.given import Given
from yamlfile import Fault, suggest

ACCOUNT_DIGITS = 12
NAME = re.compile(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?")
SUPPORTED = ("aws", "aws-cn")
CHINA = "aws-cn"

LAMBDA_MB = (128, 10_240)  # AWS Lambda quotas: 128 MB to 10,240 MB, in steps of 1 MB
PROVISIONED_MOST = 900  # of an account's first 1,000; Lambda keeps 100 unreserved

# CPU units -> MiB: least, most, step (Amazon ECS developer guide, task size)
FARGATE_MB = {
    256: (512, 2_048, 512),
    512: (1_024, 4_096, 1_024),
    1_024: (2_048, 8_192, 1_024),
    2_048: (4_096, 16_384, 1_024),
    4_096: (8_192, 30_720, 1_024),
    8_192: (16_384, 61_440, 4_096),
    16_384: (32_768, 122_880, 8_192),
}
FARGATE_DEFAULT_MB = 2_048  # the least of 1,024 CPU units

_CERTIFICATE = re.compile(r"arn:([a-z-]+):acm:([a-z0-9-]+):(\d{12}):certificate/[A-Za-z0-9-]+")


def faults(given: Given) -> Iterator[Fault]:
    """Yield all that is wrong with the stage's own values."""
    if not NAME.fullmatch(given.name):
        said = "a stage's name is 1 to 16 lower-case letters, digits and hyphens, as `dev`"
        yield given.fault(said=said)
    yield from _domain(given)
    if "lanes" in given.row:
        yield from _certificate(given, "lanes", given.row["lanes"]["certificate"])
    yield from _runs_on(given)
    yield from _auth(given)
    yield from _size(given)


def doubts(given: Given) -> Iterator[Fault]:
    """Yield what the stage needs beside AWS, which can't be seen from here: warnings."""
    if given.partition == CHINA and "domain" in given.row and not given.row.get("private"):
        said = "domain: in China a name that the internet reaches needs an ICP filing of its owner"
        yield given.fault("domain", said=f"{said} (docs/deploy.md, China)")


def where(given: Given, offers: Offers) -> Iterator[Fault]:
    """Yield why there is no such place: whatever else is said of a stage goes by where it is."""
    account, region = given.row["account"], given.region
    if not isinstance(account, str):
        whole = str(account).zfill(ACCOUNT_DIGITS)
        said = f'account: write it in quotes, `"{whole}"`: a number loses its leading zeros'
        yield given.fault("account", said=said)
    elif not (len(account) == ACCOUNT_DIGITS and account.isascii() and account.isdigit()):
        said = f'account: `{account[:20]}` is not 12 digits, as "123456789012"'
        yield given.fault("account", said=said)
    partition = partition_of(region)
    if partition is None:
        said = f"region: `{region[:40]}` is no AWS region {suggest(region, offers.regions)}"
        yield given.fault("region", said=said)
    elif partition != given.partition:
        where = f"region `{region}` is of partition `{partition}`, not `{given.partition}`"
        fix = f"(write `partition: {partition}`, or a region of {given.partition})"
        yield given.fault("partition", said=f"partition: {where} {fix}")
    elif region not in offers.regions and given.partition in SUPPORTED:
        said = f"region: `{region}` is not a region that is known {suggest(region, offers.regions)}"
        yield given.fault("region", said=said)
    elif not given.fargate and region not in adapter.REGIONS[given.partition]:
        said = f"region: no layer of the Lambda Web Adapter is known in `{region}`"
        yield given.fault("region", said=f"{said} {adapter.KNOWN}")
    if given.partition in PARTITIONS and given.partition not in SUPPORTED:
        known = f"(supported: {', '.join(SUPPORTED)})"
        said = f"partition: `{given.partition}` is not supported by this version {known}"
        yield given.fault("partition", said=said)


def _domain(given: Given) -> Iterator[Fault]:
    domain = given.row.get("domain")
    if domain is not None and given.row.get("private") and not given.fargate:
        said = "domain: a private API of API Gateway is reached by its endpoint's name: leave out "
        yield given.fault("domain", said=f"{said}`domain`, or `private`")
    if domain is None:
        if given.fargate:
            said = "`on: fargate` needs `domain`: its load balancer speaks HTTPS under a name of "
            yield given.fault("router", "on", said=f"router: {said}yours, with a certificate")
        return
    yield from _certificate(given, "domain", domain["certificate"])


def _certificate(given: Given, key: str, arn: str) -> Iterator[Fault]:
    """Yield why the stage's balancers can't use this certificate, which stands at `key`."""
    found = _CERTIFICATE.fullmatch(arn)
    wanted = f"arn:{given.partition}:acm:{given.region}:{given.account}:certificate/..."
    if found is None:
        said = f"certificate: this is no ARN of an ACM certificate (as {wanted})"
        yield given.fault(key, "certificate", said=said)
        return
    partition, region, account = found.groups()
    for what, has, wants in (
        ("partition", partition, given.partition),
        ("region", region, given.region),
        ("account", account, given.account),
    ):
        if has != wants:
            said = f"certificate: it is of {what} {has}, the stage of {wants}: "
            fix = f"issue one there (as {wanted})"
            yield given.fault(key, "certificate", said=said + fix)


def _runs_on(given: Given) -> Iterator[Fault]:
    router = given.row.get("router", {})
    if given.fargate:
        yield from _fargate(given)
        return
    least, most = LAMBDA_MB
    if not least <= router.get("memory_mb", least) <= most:
        said = f"memory_mb: Lambda has {least} to {most:,} MB"
        yield given.fault("router", "memory_mb", said=said)
    for key in ("tasks", "cpu_units"):
        if key in router:
            said = f"{key}: goes with `on: fargate` (on Lambda CPU follows memory_mb)"
            yield given.fault("router", key, said=said)
    if router.get("provisioned", 0) > PROVISIONED_MOST:
        said = (
            f"provisioned: an account has 1,000 environments at first, of which {PROVISIONED_MOST}"
        )
        yield given.fault("router", "provisioned", said=f"{said} may be provisioned")
    if router.get("provisioned", 0) and not given.prod:
        said = "provisioned: warm environments are paid for by the hour: they go with `size: prod`"
        yield given.fault("router", "provisioned", said=said)


def _fargate(given: Given) -> Iterator[Fault]:
    router = given.row["router"]
    if not given.prod:
        said = "on: fargate runs in a VPC behind a load balancer: it goes with `size: prod`"
        yield given.fault("router", "on", said=said)
    if "provisioned" in router:
        said = "provisioned: goes with `on: lambda` (on Fargate `tasks` says how many are kept)"
        yield given.fault("router", "provisioned", said=said)
    least, most = router.get("tasks", (1, 1))
    if least > most:
        said = f"tasks: the least ({least}) is above the most ({most})"
        yield given.fault("router", "tasks", said=said)
    cpu, memory = router.get("cpu_units", 1_024), router.get("memory_mb", FARGATE_DEFAULT_MB)
    if cpu not in FARGATE_MB:
        known = ", ".join(map(str, FARGATE_MB))
        said = f"cpu_units: Fargate has no task of {cpu} CPU units (known: {known})"
        yield given.fault("router", "cpu_units", said=said)
        return
    low, high, step = FARGATE_MB[cpu]
    if not (low <= memory <= high and (memory - low) % step == 0):
        said = f"memory_mb: a task of {cpu} CPU units has {low} to {high} MB in steps of {step}"
        yield given.fault("router", "memory_mb", said=f"{said}, not {memory}")


def _auth(given: Given) -> Iterator[Fault]:
    modes, config = given.modes, given.row.get("auth", {}).get("config")
    asks = [mode for mode in modes if mode != "keys"]
    if "jwt" in modes and given.partition == CHINA and not given.fargate:
        said = (
            "auth: in China API Gateway asks every caller for a signature of AWS, which stands in "
        )
        fix = "`Authorization`, where a token would: take `keys` (in x-sluice-key) or `iam`"
        yield given.fault("auth", "modes", said=f"{said}{fix}, or `router: {{on: fargate}}`")
    elif asks and config is None:
        said = f"auth: `{asks[0]}` needs `config`, a file with a section `{asks[0]}`"
        yield given.fault("auth", "modes", said=f"{said} (docs/auth.md)")
    if config is not None and not asks:
        said = "auth.config: nobody reads it where the only mode is `keys`: remove it, or add "
        yield given.fault("auth", "config", said=said + "`jwt` or `iam` to modes")
    if "iam" in modes and len(modes) > 1:
        others = " and ".join(f"`{mode}`" for mode in modes if mode != "iam")
        said = "auth: `iam` stands alone: API Gateway then asks every caller for a signature of "
        fix = f"AWS, so that {others} alone gets nobody in (give them a stage of their own)"
        yield given.fault("auth", "modes", said=said + fix)
    if "iam" in modes and given.fargate:
        said = "auth: `iam` goes with `on: lambda`: a load balancer checks no signatures of AWS"
        yield given.fault("auth", "modes", said=said)


def _size(given: Given) -> Iterator[Fault]:
    if "lanes" in given.row and not given.prod:
        said = "lanes: fleets on ECS and EKS are in the VPC: they go with `size: prod`"
        yield given.fault("lanes", said=said)
    if given.row.get("private") and not given.prod:
        said = "private: a private API is reached through a VPC endpoint: it goes with `size: prod`"
        yield given.fault("private", said=said)
