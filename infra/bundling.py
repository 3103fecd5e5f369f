"""The router as one folder, for Lambda, for a container or for this machine; without Docker.

The same input gives the same bytes: versions are the lock's, and no timestamps get in.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from types import MappingProxyType

import yamlfile
from backends import files
from infra.paths import ROOT
from router.deploy import adapter
from router.deploy.stage import Stage
from router.settings import cache_dir, environment

OWN = ("backends", "policies", "router")
# What a router never reads: a model, an image's context, the cases of our own policies.
NOT_OURS = ("backends/engines/tiny", "backends/engines/container", "policies/tests")
# boto3 and what only it needs: Lambda's runtime has them.
OF_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "python-dateutil", "six", "urllib3")
# Commands, sources of what is compiled, and what only tests or tools read.
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")
NEEDLESS = ("bin", "*/*.c", "*/*.h", "*/*.pyx", "*/*.pxd", "*/*.rs", "*/*.pyi", "**/tests")
PYTHON = "3.13"  # of Lambda's runtime and of the container's image
MOST_MB = 60  # unzipped; Lambda itself takes 250


@dataclass(frozen=True, slots=True)
class Platform:
    """`uv`: what `uv pip install` is told of it; `python` compiles for it, where it is found as
    `root`. `boto3`: whether the bundle brings its own.
    """

    uv: tuple[str, ...]
    python: str
    root: str
    boto3: bool = False


def _linux(machine: str, root: str = "/var/task", *, boto3: bool = False) -> Platform:
    target = f"{machine}-manylinux_2_28"
    version = ("--python-version", PYTHON)
    return Platform(("--python-platform", target, *version), PYTHON, root, boto3)


PLATFORMS: Mapping[str, Platform] = MappingProxyType(
    {
        "lambda": _linux("aarch64"),
        "lambda-x86": _linux("x86_64"),  # China: the adapter's layer is for x86_64 alone there
        "container": _linux("aarch64", "/opt/sluice", boto3=True),
        "container-x86": _linux("x86_64", "/opt/sluice", boto3=True),
        "host": Platform(("--python", sys.executable), sys.executable, "/"),
    }
)


@dataclass(frozen=True, slots=True)
class Config:
    """What a bundle has in `config/`. `fleets` is the catalogue's text; `own`: the folder with the
    user's `profiles/` and `prices.yaml`, as `--state` has them.
    """

    fleets: str
    policy: Path
    cases: Path | None = None
    auth: Path | None = None
    own: Path | None = None


class NotBundled(Exception):  # noqa: N818 (says what happened)
    """uv could not install what is locked; the message is its own."""


def config_of(stage: Stage) -> Config:
    """Return the files of a stage, with the fleets that it uses alone."""
    given = files.on_disk(stage.fleets_file)
    written = yamlfile.parse(given.text, given.name).value
    used = {fleet.id for fleet in stage.catalogue.fleets}
    kept = [fleet for fleet in written["fleets"] if fleet["id"] in used]
    text = json.dumps({**written, "fleets": kept}, indent=1, ensure_ascii=False) + "\n"
    own = stage.fleets_file.parent
    return Config(text, stage.policy_file, stage.cases, stage.auth_config, own)


def platform_of(stage: Stage) -> str:
    place = "container" if stage.compute.on == "fargate" else "lambda"
    return f"{place}-x86" if adapter.is_x86(stage.partition) else place


def build(config: Config, platform: str, out: Path, extras: Sequence[str] = ("aws",)) -> Path:
    """Fill the folder, which must be new or empty. Raises NotBundled, OSError."""
    out.mkdir(parents=True, exist_ok=True)
    _install(PLATFORMS[platform], extras, out)
    for pattern in NEEDLESS:
        for found in sorted(out.glob(pattern)):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    left_out = {ROOT / path for path in NOT_OURS}

    def ignored(folder: str, names: list[str]) -> set[str]:
        ours = {name for name in names if Path(folder) / name in left_out}
        return ours | IGNORED(folder, names)

    for package in OWN:
        shutil.copytree(ROOT / package, out / package, ignore=ignored)
    shutil.copy(ROOT / "yamlfile.py", out)
    _name(out)
    shutil.copy(ROOT / "infra" / "run.sh", out)
    (out / "run.sh").chmod(0o755)
    if PLATFORMS[platform].boto3:
        shutil.copy(ROOT / "router" / "container" / "Dockerfile", out)
    _configure(config, out / "config")
    _compile(PLATFORMS[platform], out)
    return out


def bundle(stage: Stage, out: Path) -> Path:
    """Build what this stage runs. Raises as build."""
    extras = ("aws", "jwt") if "jwt" in stage.auth else ("aws",)
    return build(config_of(stage), platform_of(stage), out, extras)


def _install(platform: Platform, extras: Sequence[str], out: Path) -> None:
    """Install the locked versions, each file held against the lock's hash."""
    export = ["export", "--frozen", "--no-dev", "--no-emit-project"]
    export += [part for extra in extras for part in ("--extra", extra)]
    if not platform.boto3:
        export += [part for name in OF_THE_RUNTIME for part in ("--no-emit-package", name)]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        _uv([*export, "--output-file", str(wanted)])
        install = ["pip", "install", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        _uv([*install, *platform.uv, "--target", str(out), "-r", str(wanted)])
    (out / ".lock").unlink(missing_ok=True)


def _uv(arguments: Sequence[str]) -> None:
    ended = _run(arguments)
    if ended.returncode:
        raise NotBundled(f"uv {arguments[0]} failed: {ended.stderr.strip()}")


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    uv = shutil.which("uv") or shutil.which(cache_dir(environment()) / "uv" / "bin" / "uv")
    if uv is None:
        raise NotBundled("uv is not on the PATH: `make setup` says how to get it")
    return subprocess.run(  # noqa: S603 (our own arguments)
        [uv, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def _compile(platform: Platform, out: Path) -> None:
    """Compile all, which is half of a start's work: Lambda's folder can't be written to later.

    What is compiled says where it will lie and nothing of when it was made: it is the same
    everywhere. Without a Python of that version here it stays undone, and that is told.
    """
    python = platform.python
    if python == PYTHON:
        found = _run(["python", "find", "--no-python-downloads", PYTHON])
        if found.returncode:
            sys.stderr.write(
                f"no Python {PYTHON} is found here: the bundle is not compiled, and takes twice as "
                f"long to start (`uv python install {PYTHON}` gets one)\n"
            )
            return
        python = found.stdout.strip()
    placed = ["-s", str(out), "-p", platform.root, "--invalidation-mode", "unchecked-hash"]
    command = [python, "-m", "compileall", "-qq", *placed, str(out)]
    subprocess.run(command, check=False, capture_output=True)  # noqa: S603 (our own arguments)


def _name(out: Path) -> None:
    """Say which version of us this is: `sluice --version` reads it, at every start."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"], project["version"]
    folder = out / f"{name}-{version}.dist-info"
    folder.mkdir()
    said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(said, "utf-8")


def _configure(config: Config, out: Path) -> None:
    out.mkdir()
    (out / "fleets.yaml").write_text(config.fleets, "utf-8")
    shutil.copyfile(config.policy, out / "policy.yaml")
    if config.cases is not None:
        if config.cases.is_dir():
            shutil.copytree(config.cases, out / "cases")
        else:
            (out / "cases").mkdir()
            shutil.copyfile(config.cases, out / "cases" / config.cases.name)
    if config.auth is not None:
        shutil.copyfile(config.auth, out / "auth.yaml")
    if config.own is not None:
        profiles, prices = config.own / "profiles", files.own_prices(config.own)
        for path in sorted(profiles.glob("*.yaml")):
            (out / "profiles").mkdir(exist_ok=True)
            shutil.copyfile(path, out / "profiles" / path.name)
        if prices.exists():
            shutil.copyfile(prices, out / "prices.yaml")


def sizes(bundle: Path) -> dict[str, int]:
    """Return bytes by package, the largest first; what is in no package is `sluice`."""
    owner = {
        listed.parts[0]: package.metadata["Name"]
        for package in distributions(path=[str(bundle)])
        for listed in package.files or ()
    }
    found: Counter[str] = Counter()
    for path in bundle.rglob("*"):
        if path.is_file():
            found[owner.get(path.relative_to(bundle).parts[0], "sluice")] += path.stat().st_size
    return dict(found.most_common())


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a bundle of the packaged catalogue and policy, and print what is how large."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundling", description=main.__doc__)
    parser.add_argument("--platform", choices=sorted(PLATFORMS), default="lambda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--extra", action="append", help="of pyproject.toml; default: aws")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args(arguments)
    if given.out.exists() and any(given.out.iterdir()):
        parser.error(f"{given.out} is not empty")
    default = Config(files.embedded_fleets().text, ROOT / "policies" / "default.yaml")
    try:
        found = sizes(build(default, given.platform, given.out, given.extra or ("aws",)))
    except NotBundled as exc:
        parser.exit(1, f"{exc}\n")
    whole = sum(found.values())
    if given.as_json:
        sys.stdout.write(json.dumps({"bytes": whole, "packages": found}) + "\n")
    else:
        for name, size in [*found.items(), ("altogether", whole)]:
            sys.stdout.write(f"{size / 1e6:8.2f} MB  {name}\n")
    return int(whole > MOST_MB * 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
