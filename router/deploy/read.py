"""deploy.yaml, with the fleets, the policy, its cases and the auth file that it names -> stages.

* yamlfile.Invalid   some file is at fault: every problem, with its file:line and the fix
* OSError            deploy.yaml can't be read
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yamlfile
from backends import availability, files, hardware, launch_table
from backends.catalogue import Catalogue
from backends.content_hash import content_hash
from policies.check import check
from policies.model import Policy
from router.auth import config as auth_config
from router.deploy import (
    deferrable_checks,
    fleet_checks,
    images,
    lane,
    lane_checks,
    place,
    reach,
)
from router.deploy.fleet_checks import Known
from router.deploy.form import SCHEMA
from router.deploy.given import Given
from router.deploy.lane import Lane
from router.deploy.stage import Compute, Deferrable, Domain, LanesDomain, Stage, Window
from router.policy_check import tried
from router.sources import names_of
from yamlfile import Document, Fault, Invalid, Problem, suggest


def stages(path: Path, only: str | None = None, *, now: datetime | None = None) -> dict[str, Stage]:
    """Return the stages of the file, or the one of this name.

    `now`: a Capacity Block that has ended by then is refused; None: its dates are not looked at.
    raises yamlfile.Invalid, OSError
    """
    source = files.on_disk(path)
    document = yamlfile.read(source.text, source.name, SCHEMA)
    rows = document.value["stages"]
    if only is not None and only not in rows:
        said = f"unknown stage `{only}` {suggest(only, rows)}"
        raise document.invalid([(("stages",), said)])
    wanted = rows if only is None else {only: rows[only]}
    known, found, problems = _known(now), {}, list[Problem]()
    for name, row in wanted.items():
        try:
            found[name] = _stage(Given(document, name, row, path.parent), known)
        except Invalid as exc:
            problems += exc.problems
    if problems:
        raise Invalid(dict.fromkeys(problems))
    return found


def _known(now: datetime | None) -> Known:
    def shipped(name: str) -> tuple[str, str]:
        source = files.packaged("backends", "data", name)
        return source.text, source.name

    return Known(
        availability.read(*shipped("availability.yaml")),
        hardware.read_models(*shipped("models.yaml")),
        hardware.read_instances(*shipped("instances.yaml")),
        launch_table.read(*shipped("launch.yaml")),
        now,
    )


def _stage(given: Given, known: Known) -> Stage:
    """Return the stage; raise Invalid with everything that is wrong with it and its files."""
    nowhere = _told(given.document, place.where(given, known.offers))
    problems = [*nowhere, *_told(given.document, place.faults(given))]
    if nowhere:  # what is said of fleets would go by a place that isn't one
        raise Invalid(problems)
    problems += _told(given.document, deferrable_checks.faults(given))
    catalogue, lanes, said, doubts = _catalogue(given, known)
    problems += said
    policy: Policy | None = None
    if catalogue is not None:
        policy, said, odd = _policy(given, catalogue)
        problems += said
        doubts += odd
        said, odd = _auth(given, catalogue)
        problems += said
        doubts += odd
    if problems or catalogue is None or policy is None:
        raise Invalid(problems)
    warnings = (*_told(given.document, _unwatched(given)), *doubts)
    return _checked(given, catalogue, lanes, policy, warnings)


def _told(document: Document, faults: Iterable[Fault]) -> tuple[Problem, ...]:
    return document.invalid(faults).problems


def _unwatched(given: Given) -> Iterable[Fault]:
    if given.prod and "alarms" not in given.row:
        yield given.fault(said="no `alarms`: when one rings, nobody is told")
    yield from place.doubts(given)


def _unread(given: Given, keys: tuple[str, ...], exc: OSError) -> Problem:
    where = ".".join(keys)
    said = f"stage {given.name}: {where}: {exc.filename}: {exc.strerror}"
    return given.document.problem(("stages", given.name, *keys), said)


# ---- the files that a stage names ----------------------------------------------------------------


def _catalogue(
    given: Given, known: Known
) -> tuple[Catalogue | None, tuple[Lane, ...], tuple[Problem, ...], list[Problem]]:
    """Return the fleets that the stage uses (None: they can't be), how those that it makes are
    made, problems and warnings.
    """
    path = given.path("fleets", "file")
    assert path is not None, "the form asks for it"
    try:
        runs_on = "fargate" if given.fargate else "lambda"
        if runs_on not in files.router_places():  # what it costs there is not known yet
            runs_on = "lambda"
        whole = files.catalogue(path, state=path.parent, place=runs_on)  # its own profiles, too
        source = files.on_disk(path)
    except Invalid as exc:
        return None, (), exc.problems, []
    except OSError as exc:
        return None, (), (_unread(given, ("fleets", "file"), exc),), []
    document = yamlfile.parse(source.text, source.name)
    fleets = {fleet.id: fleet for fleet in whole.fleets}
    unknown = [
        given.fault(
            "fleets", "use", i, said=f"{path.name} has no fleet `{name}` {suggest(name, fleets)}"
        )
        for i, name in enumerate(given.row["fleets"]["use"])
        if name not in fleets
    ]
    if unknown:
        return None, (), _told(given.document, unknown), []
    used = list(fleet_checks.rows(document, fleets, given))
    wrong = [fault for row in used for fault in fleet_checks.faults(row, known)]
    odd = [fault for row in used for fault in fleet_checks.doubts(row, known)]
    made, unmade, doubtful = _lanes(used, known)
    problems = (
        *_told(document, [*wrong, *unmade]),
        *_told(given.document, lane_checks.unused(used, given)),
    )
    return _only(whole, given), made, problems, list(_told(document, [*odd, *doubtful]))


def _lanes(
    used: Sequence[fleet_checks.Row], known: Known
) -> tuple[tuple[Lane, ...], list[Fault], list[Fault]]:
    """Return the fleets that the stage makes, why some of them can't be, and what looks odd."""
    made, odd = list[Lane](), list(lane_checks.unpaid(used))
    wrong = list(lane_checks.between(used))
    shelf = lane.Shelf(known.models, known.machines, known.launches)
    for row in used:
        if not fleet_checks.is_made(row) or row.fleet.emulated:
            continue
        wrong += lane_checks.faults(row, known.machines)
        if known.now is not None:
            wrong += lane_checks.ended(row, known.now)
            odd += lane_checks.begun(row, known.now)
        try:
            found = lane.lane(row.fleet, shelf)
            images.image(found, row.given.partition, row.given.region)
        except lane.Unmade as exc:
            wrong.append(row.fault(*exc.key, said=str(exc)))
            continue
        made.append(found)
        odd += lane_checks.doubts(row, found)
    return tuple(made), wrong, odd


def _only(whole: Catalogue, given: Given) -> Catalogue:
    """Return the catalogue as if the file had the stage's fleets and their models alone."""
    used = set(given.row["fleets"]["use"])
    fleets = tuple(fleet for fleet in whole.fleets if fleet.id in used)
    models = {fleet.model.id for fleet in fleets}
    profiles = {fleet.profile.id for fleet in fleets if fleet.profile is not None}
    tables = {fleet.model.quality.id for fleet in fleets if fleet.model.quality is not None}
    keep: Mapping[str, set[str]] = {
        "fleets": used,
        "models": models,
        "profiles": profiles,
        "quality": tables,
    }
    rows: Mapping[str, Any] = whole.compiled
    kept = {key: [row for row in rows[key] if row["id"] in ids] for key, ids in keep.items()}
    compiled = {**rows, **kept}
    return replace(
        whole,
        fleets=fleets,
        models={name: model for name, model in whole.models.items() if name in models},
        compiled=compiled,
        hash=content_hash(compiled),
    )


def _policy(
    given: Given, catalogue: Catalogue
) -> tuple[Policy | None, tuple[Problem, ...], tuple[Problem, ...]]:
    """Return the policy as these fleets can serve it, what is wrong with it, and what looks odd."""
    path = given.path("policy")
    assert path is not None, "the form asks for it"
    try:
        source = files.on_disk(path)
        report = check(source.text, source.name, names_of(catalogue))
        failed = _failed_cases(given, report.policy, catalogue)
    except Invalid as exc:
        return None, exc.problems, ()
    except OSError as exc:
        keys = ("policy",) if exc.filename == str(path) else ("cases",)
        return None, (_unread(given, keys, exc),), ()
    used = ", ".join(fleet.id for fleet in catalogue.fleets)
    whose = f" (stage {given.name} uses the fleets {used})"
    problems = [replace(problem, message=problem.message + whose) for problem in report.problems]
    if report.policy is None:
        return None, (*problems, *failed), report.warnings
    problems += _told(given.document, deferrable_checks.faults_of(given, report.policy))
    odd = _told(given.document, deferrable_checks.doubts(given, report.policy, catalogue))
    return report.policy, (*problems, *failed), (*report.warnings, *odd)


def _failed_cases(given: Given, policy: Policy | None, catalogue: Catalogue) -> list[Problem]:
    """Return what fails of the policy's cases; raise yamlfile.Invalid, OSError."""
    folder, path = given.path("cases"), given.path("policy")
    if folder is None or path is None or policy is None:
        return []
    _, failed = tried(policy, files.on_disk(folder / path.name), catalogue)
    return [Problem(*said.split(": ", 1)) for said in failed]


def _auth(given: Given, catalogue: Catalogue) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return what is wrong with the auth file, and what can't be known of it."""
    path = given.path("auth", "config")
    if path is None:
        return (), ()
    try:
        source = files.on_disk(path)
        found = auth_config.parse(source.text, source.name, names_of(catalogue))
    except Invalid as exc:
        return exc.problems, ()
    except OSError as exc:
        return (_unread(given, ("auth", "config"), exc),), ()
    has = {"jwt": found.jwt is not None, "iam": found.iam is not None}
    wrong = [
        given.fault("auth", "modes", said=f"auth: {path.name} {_differs(mode, there)}")
        for mode, there in has.items()
        if there != (mode in given.modes)
    ]
    odd: list[Fault] = []
    if found.jwt is not None:
        url = found.jwt.jwks_url or found.jwt.issuer
        objection = reach.objection(url, prod=given.prod)
        if objection is not None:
            wrong.append(given.fault("auth", "config", said=f"the issuer's keys: {objection}"))
        doubts = reach.doubts(url, prod=given.prod)
        odd += [given.fault("auth", "config", said=f"the issuer's keys: {x}") for x in doubts]
    return _told(given.document, wrong), _told(given.document, odd)


def _differs(mode: str, there: bool) -> str:
    if there:
        return f"has a section `{mode}`, which modes leave out: add `{mode}`, or remove the section"
    return f"has no section `{mode}`, which modes ask for: write it, or remove `{mode}`"


# ---- what was read -------------------------------------------------------------------------------


def _checked(
    given: Given,
    catalogue: Catalogue,
    lanes: tuple[Lane, ...],
    policy: Policy,
    warnings: tuple[Problem, ...],
) -> Stage:
    row = given.row
    fleets, policy_file = given.path("fleets", "file"), given.path("policy")
    assert fleets is not None, "it was read"
    assert policy_file is not None, "it was read"
    return Stage(
        name=given.name,
        account=given.account,
        region=given.region,
        partition=row.get("partition", "aws"),
        size=row["size"],
        catalogue=catalogue,
        fleets_file=fleets,
        policy=policy,
        policy_file=policy_file,
        cases=given.path("cases"),
        auth=tuple(row.get("auth", {}).get("modes", ("keys",))),
        auth_config=given.path("auth", "config"),
        domain=Domain(**row["domain"]) if "domain" in row else None,
        private=row.get("private", False),
        alarm_email=row.get("alarms", {}).get("email"),
        usd_per_month=row.get("usd_per_month"),
        compute=_compute(row.get("router", {})),
        lanes=lanes,
        lanes_domain=LanesDomain(**row["lanes"]) if "lanes" in row else None,
        deferrable=_deferrable(row["deferrable"]) if "deferrable" in row else None,
        warnings=warnings,
    )


def _deferrable(row: Mapping[str, Any]) -> Deferrable:
    given = row.get("window")
    window = None if given is None else Window(given["from"], given["to"], given["tz"])
    return Deferrable(window, row.get("at_once", Deferrable().at_once))


def _compute(row: Mapping[str, Any]) -> Compute:
    default = place.FARGATE_DEFAULT_MB if row.get("on") == "fargate" else Compute().memory_mb
    return Compute(
        on=row.get("on", "lambda"),
        memory_mb=row.get("memory_mb", default),
        provisioned=row.get("provisioned", 0),
        tasks=tuple(row.get("tasks", (2, 10))),
        cpu_units=row.get("cpu_units", 1024),
    )
