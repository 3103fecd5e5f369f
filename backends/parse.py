"""Text of the catalogue's files -> values, or every mistake with its file:line.

The files are YAML (their compiled form, JSON, is YAML too and reads the same way).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yamlfile
from backends import (
    forms,
    parse_prices,
    parse_profile,
    parse_quality,
    parse_sagemaker,
    parse_tranches,
    router_cost,
)
from backends.catalogue import Catalogue, Fleet, KeyRef, Model, Replicas, Runs
from backends.content_hash import content_hash
from backends.library import Library
from backends.prices import Price, PriceBook
from backends.profiles import Profile
from backends.router_cost import LOCAL, RouterCost
from backends.tariff import Tranche
from backends.urls import Target, check_url, target
from yamlfile import Document, Invalid, Path, Problem, suggest

ASKED = ("/chat/completions", "/completions", "/models")  # what is put behind a url


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text under the name that messages give."""

    name: str
    text: str


def library(
    profiles: Iterable[Source], quality: Source, prices: Source, own_prices: Source | None = None
) -> Library:
    """Read the reference files; a later profile of the same id replaces an earlier one."""
    known: dict[str, Profile] = {}
    rows: dict[str, Mapping[str, Any]] = {}
    for source in profiles:
        document = yamlfile.read(source.text, source.name, forms.PROFILES)
        for i, row in enumerate(document.value["profiles"]):
            known[row["id"]] = parse_profile.profile(document, i, row)
            rows[row["id"]] = row
    tables = yamlfile.read(quality.text, quality.name, forms.QUALITY)
    return Library(
        known,
        rows,
        {
            row["id"]: parse_quality.table(tables, i, row)
            for i, row in enumerate(tables.value["tables"])
        },
        {row["id"]: row for row in tables.value["tables"]},
        _price_book(prices, own_prices),
    )


def _price_book(packaged: Source, own: Source | None) -> PriceBook:
    book = parse_prices.read(packaged.text, packaged.name)
    if own is None:
        return book
    return parse_prices.overlaid(book, parse_prices.read(own.text, own.name))


def catalogue(
    source: Source, shelf: Library, router: RouterCost = LOCAL, *, stored: bool = False
) -> Catalogue:
    """Read a fleet catalogue; raise yamlfile.Invalid with every problem.

    `router`: what the router itself costs where it runs. `stored`: a version that was in force,
    maybe before a fleet's context above its model's was refused: it is cut there, as it was then.
    """
    document = yamlfile.read(source.text, source.name, forms.FLEETS)
    problems: list[Problem] = []
    models = _models(document, shelf, problems)
    fleets: dict[str, Fleet] = {}
    shares: dict[str, float] = {}
    for i, row in enumerate(document.value["fleets"]):
        found = _fleet_problems(document, i, row, models, shelf)
        if not stored and row["model"] in models:
            found += _too_long(document, i, row, models[row["model"]])
        if row["id"] in fleets:
            path = ("fleets", i, "id")
            found.append(document.problem(path, f"fleet `{row['id']}` stands here twice"))
        if "host" in row:
            shares[row["host"]] = shares.get(row["host"], 0.0) + row.get("host_share", 1.0)
            if shares[row["host"]] > 1 + 1e-9:
                said = f"fleet {row['id']}: the shares of host `{row['host']}` add up to "
                said += f"{shares[row['host']]:g}: 1 is all of it"
                found.append(document.problem(("fleets", i, "host"), said))
        problems += found
        if not found:
            fleets[row["id"]] = _fleet(document, i, row, models, shelf)
    if problems:
        raise Invalid(problems)
    profiles = [fleet.profile.id for fleet in fleets.values() if fleet.profile is not None]
    tables_used = [row["quality"] for row in document.value["models"] if "quality" in row]
    compiled = {
        **document.value,
        "profiles": [shelf.profile_rows[name] for name in dict.fromkeys(profiles)],
        "quality": [shelf.quality_rows[name] for name in dict.fromkeys(tables_used)],
    }
    if router != LOCAL:
        compiled["router"] = {"id": router.place, "lines": [asdict(line) for line in router.lines]}
    return Catalogue(
        fleets=tuple(fleets.values()),
        models=models,
        hash=content_hash(compiled),
        compiled=compiled,
        price_book=shelf.prices,
        router=router,
    )


def _models(document: Document, shelf: Library, problems: list[Problem]) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for i, row in enumerate(document.value["models"]):
        at = ("models", i)
        if row["id"] in models:
            problems.append(document.problem((*at, "id"), f"model `{row['id']}` stands here twice"))
        table = row.get("quality")
        if table is not None and table not in shelf.quality:
            said = f"model {row['id']}: unknown quality table `{table}` "
            problems.append(
                document.problem((*at, "quality"), said + suggest(table, shelf.quality))
            )
        models[row["id"]] = Model(
            id=row["id"],
            context_tokens=row["context_tokens"],
            abilities=frozenset(row.get("abilities", ())),
            languages=tuple(row.get("languages", ())),
            quality=shelf.quality.get(table),
        )
    return models


def from_compiled(compiled: Mapping[str, Any], prices: Mapping[str, Any]) -> Catalogue:
    """Rebuild a catalogue from its stored version and its price book's."""

    def source(value: Mapping[str, Any]) -> Source:
        return Source("version", json.dumps(value))

    shelf = library(
        [source({"version": 1, "profiles": compiled["profiles"]})],
        source({"version": 1, "tables": compiled["quality"]}),
        source(prices),
    )
    keys = ("version", "fleets", "models")
    router = router_cost.of(compiled["router"]) if "router" in compiled else LOCAL
    return catalogue(source({key: compiled[key] for key in keys}), shelf, router, stored=True)


def _fleet_problems(
    document: Document,
    i: int,
    row: Mapping[str, Any],
    models: Mapping[str, Model],
    shelf: Library,
) -> list[Problem]:
    of_keys = (*_unknown_names(row, models, shelf), *_contradictions(row))
    said = [
        *(((key,), message) for key, message in of_keys),
        *_wrong_urls(row),
        *parse_tranches.wrong(row),
    ]
    return [
        document.problem(("fleets", i, *at), f"fleet {row['id']}: {message}")
        for at, message in said
    ]


def _too_long(
    document: Document, i: int, row: Mapping[str, Any], model: Model
) -> Iterator[Problem]:
    if row.get("context_tokens", 0) > model.context_tokens:
        said = f"fleet {row['id']}: context_tokens: {row['context_tokens']:,} is more than the "
        fix = f"{model.context_tokens:,} of its model `{model.id}`: write that or less, or leave it"
        yield document.problem(("fleets", i, "context_tokens"), f"{said}{fix} out")


def _unknown_names(
    row: Mapping[str, Any], models: Mapping[str, Model], shelf: Library
) -> Iterator[tuple[str, str]]:
    model, profile = row["model"], row.get("profile")
    if model not in models:
        yield "model", f"unknown model `{model}` {suggest(model, models)}"
    if profile is not None and profile not in shelf.profiles:
        yield "profile", f"unknown profile `{profile}` {suggest(profile, shelf.profiles)}"


def _wrong_urls(row: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    if row["kind"] == parse_sagemaker.KIND and "url" not in row and "urls" not in row:
        return
    if ("url" in row) == ("urls" in row):
        yield ("url",), "needs either `url` or `urls`"
        return
    urls: list[tuple[Path, str]] = [(("urls", i), url) for i, url in enumerate(row.get("urls", ()))]
    seen: set[Target] = set()
    for at, url in urls or [(("url",), row["url"])]:
        objection = check_url(url) or _not_its_root(row["kind"], url)
        if objection is not None:
            yield at, objection
            continue
        if (where := target(url)) in seen:
            yield at, f"`{url}` stands here twice: every url is a replica of its own"
        seen.add(where)


def _not_its_root(kind: str, url: str) -> str | None:
    """Return why paths can't be put behind this url, or None."""
    path = url.rstrip("/")
    if kind == parse_sagemaker.KIND:
        if "/endpoints/" in path:
            return "the path of an endpoint doesn't belong into the url (its name is `endpoint`)"
        return None
    for asked in ASKED:
        if path.endswith(asked):
            return f"a url ends before `{asked}` (valid: `http://host:port/v1`)"
    return None


def _contradictions(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from parse_sagemaker.contradictions(row)
    least = row["replicas"].get("min", 0)
    if least > row["replicas"].get("max", max(1, least)):
        yield "replicas", "`min` is above `max`"
    if "host_share" in row and "host" not in row:
        yield "host_share", "`host_share` needs `host`"
    if "price_source" in row and "usd_per_hour" not in row:
        yield "price_source", "`price_source` needs `usd_per_hour`"


def _fleet(
    document: Document,
    i: int,
    row: Mapping[str, Any],
    models: Mapping[str, Model],
    shelf: Library,
) -> Fleet:
    model = models[row["model"]]
    price: Price | None
    tranches: tuple[Tranche, ...] = ()
    purchase = row.get("purchase", "on_demand")
    if isinstance(purchase, list):
        find, where = shelf.prices.find, (row["instance"], row["region"])
        tranches = tuple(
            parse_tranches.tranche(part, find(*where, part["option"])) for part in purchase
        )
        purchase, price = tranches[0].option, tranches[0].price
    elif "usd_per_hour" in row:
        line = f"{document.name}:{document.line('fleets', i, 'usd_per_hour')}"
        price = Price(row["usd_per_hour"], "", row.get("price_source", line), "stated")
    else:
        price = shelf.prices.find(row["instance"], row["region"], purchase)
    replicas = row["replicas"]
    least = replicas.get("min", 0)
    wake = row.get("wake", {})
    return Fleet(
        id=row["id"],
        model=model,
        lane=row["lane"],
        engine=row["engine"],
        kind=row["kind"],
        urls=_urls(row),
        upstream_model=row.get("upstream_model", parse_sagemaker.upstream_model(row)),
        instance=row["instance"],
        region=row["region"],
        purchase=purchase,
        price=price,
        replicas=Replicas(
            least,
            replicas.get("max", max(1, least)),
            replicas["concurrency_each"],
            replicas.get("scale_out_at", 0.7),
        ),
        profile=shelf.profiles[row["profile"]] if "profile" in row else None,
        host_share=row.get("host_share", 1.0),
        fallback_usd_per_mtok=row.get("fallback_usd_per_mtok"),
        api_key=_key(row, f"{document.name}:{document.line('fleets', i, 'api_key')}"),
        context_tokens=min(row.get("context_tokens", model.context_tokens), model.context_tokens),
        marks=(*row.get("marks", ()), *(("emulated",) if row["kind"] == "emulated" else ())),
        wake_seconds=wake.get("seconds"),
        min_run_seconds=wake.get("min_run_seconds"),
        tranches=tranches,
        sagemaker=parse_sagemaker.target(row),
        host=row.get("host"),
        runs=Runs(**row["runs"]) if "runs" in row else None,
    )


def _key(row: Mapping[str, Any], at: str) -> KeyRef | None:
    found = re.match(forms.API_KEY, row.get("api_key", ""))
    if found is None:
        return None
    variable, secret, json_field = found.groups()
    return (
        KeyRef("env", variable, None, at) if variable else KeyRef("secret", secret, json_field, at)
    )


def _urls(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "url" in row:
        return (row["url"],)
    return tuple(row["urls"]) if "urls" in row else (parse_sagemaker.url(row["region"]),)
