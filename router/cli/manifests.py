"""``sluice deploy --manifests DIR``: writes what runs on a stage's cluster of EKS."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from backends import files
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.deploy.kubernetes import manifests
from router.deploy.kubernetes.manifests import Told
from router.deploy.lane import Unmade
from router.deploy.stage import Stage

PROGRAMS = {
    "fetch.py": ("router", "deploy", "kubernetes", "fetch.py"),
    "sigv4.py": ("backends", "sigv4.py"),
}


def write(stages: Iterable[Stage], folder: Path, outputs: Path | None, *, as_json: bool) -> None:
    """Write the one stage's files. What else is in the folder stays as it is."""
    stage = _one(stages)
    try:
        known = manifests.told(stage, _outputs(outputs, stage)) if outputs else Told()
        _all_images(stage, known)
        made = manifests.manifests(stage, programs(), known)
    except Unmade as exc:
        where = f"{stage.fleets_file}: {'.'.join(exc.key)}"
        raise Ends(f"{where}: {exc}", INVALID) from None
    texts = {name: manifests.text(objects) for name, objects in made.items()}
    written, strange = _written(folder, texts)
    unbound = [lane.fleet.id for lane in manifests.of(stage) if lane.fleet.id not in known.targets]
    if as_json:
        told_of = {"stage": stage.name, "folder": str(folder), "written": written}
        click.echo(orjson.dumps({**told_of, "others": strange, "unbound": unbound}))
    else:
        click.echo(f"{len(written)} files in {folder}")
    if strange:
        names = ", ".join(strange)
        click.echo(f"not of this stage, and left alone: {names}", err=True)
    if unbound:
        said = "no balancer finds these fleets yet, for their target groups are the stack's: "
        again = f"once it is deployed, write them again with --outputs ({', '.join(unbound)})"
        click.echo(said + again, err=True)


def programs() -> dict[str, str]:
    """Return what the pods' weights are fetched with, by file name."""
    return {"__init__.py": "", **{name: files.packaged(*at).text for name, at in PROGRAMS.items()}}


def _one(stages: Iterable[Stage]) -> Stage:
    found = [stage for stage in stages if manifests.of(stage)]
    if not found:
        said = "no fleet of the stage runs on EKS (fleets.yaml: `runs: {on: eks, ...}`)"
        raise Ends(said, INVALID)
    if len(found) > 1:
        names = ", ".join(stage.name for stage in found)
        raise Ends(f"several stages have fleets on EKS: choose one by --stage ({names})", INVALID)
    return found[0]


def _all_images(stage: Stage, known: Told) -> None:
    unknown = [lane for lane in manifests.stored(stage) if lane.fleet.id not in known.images]
    if unknown:
        names = ", ".join(lane.fleet.id for lane in unknown)
        said = f"the image of {names} is made by the stage: deploy it first, and"
        raise Ends(f"{said} say --outputs, or name one in ECR (`runs: {{image: ...}}`)", INVALID)


def _outputs(path: Path, stage: Stage) -> Mapping[str, str]:
    """Return the outputs by name, of what describe-stacks printed."""
    name = f"{stage.prefix}-Eks"
    hint = f"`aws cloudformation describe-stacks --stack-name {name} > {path}` writes it"
    with told():
        text = path.read_bytes()
    try:
        stacks: list[dict[str, Any]] = orjson.loads(text)["Stacks"]
        (rows,) = (stack["Outputs"] for stack in stacks if stack["StackName"] == name)
        return {str(row["OutputKey"]): str(row["OutputValue"]) for row in rows}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise Ends(f"{path}: no outputs of the stack {name} ({hint})", INVALID) from None


def _written(folder: Path, texts: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write the files; return their names, and those of others that `kubectl apply` would take."""
    if folder.exists() and not folder.is_dir():
        raise Ends(f"{folder}: it is a file; name a folder", INVALID)
    strange = []
    for path in sorted([*folder.glob("*.y*ml"), *folder.glob(f"{manifests.ONCE}/*.y*ml")]):
        name = path.relative_to(folder).as_posix()
        if name in texts and not path.read_text("utf-8").startswith(manifests.HEAD):
            said = f"{path}: not written by this command, and not overwritten: move it away"
            raise Ends(said, REFUSED)
        if name not in texts:
            strange.append(name)
    with told():
        for name, text in texts.items():
            at = folder / name
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(text, "utf-8")
    return list(texts), strange
