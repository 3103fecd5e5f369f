"""The model file: what SageMaker put into the model's folder, or what a URL gives."""

import hashlib
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from backends.base import BackendError
from backends.engines.container import NoWeights
from backends.engines.container.settings import Settings
from backends.http1 import Client

HEAD_WITHIN_S = 60.0
PART_WITHIN_S = 60.0
SHOWN = 10


async def find(settings: Settings) -> Path:
    """Return the GGUF, fetched and checked if a URL names it; raise NoWeights."""
    if settings.model_url is not None and settings.model_sha256 is not None:
        return await _fetched(settings.model_url, settings.model_sha256)
    if settings.model_file is not None:
        named = settings.model_dir / settings.model_file
        if named.is_file():
            return named
        raise NoWeights(f"`{named}`: there is no such file (SLUICE_MODEL_FILE names it)")
    return _only_one(settings.model_dir)


def _only_one(folder: Path) -> Path:
    found = sorted(folder.rglob("*.gguf"))
    # a model in several files is named by its first: llama-server finds the others
    firsts = [path for path in found if "-of-" not in path.stem or "-00001-of-" in path.stem]
    if len(firsts) == 1:
        return firsts[0]
    if not firsts:
        raise NoWeights(
            f"`{folder}` has no .gguf file: name it as the model's data in S3 (ModelDataSource, or "
            "a model.tar.gz), mount it, or set SLUICE_MODEL_URL and SLUICE_MODEL_SHA256"
        )
    names = ", ".join(str(path.relative_to(folder)) for path in firsts[:SHOWN])
    raise NoWeights(f"`{folder}` has {len(firsts)} models: SLUICE_MODEL_FILE says which ({names})")


async def _fetched(url: str, sha256: str) -> Path:
    folder = Path(tempfile.gettempdir()) / "sluice-model"
    folder.mkdir(exist_ok=True)
    place, part = folder / f"{sha256}.gguf", folder / f"{sha256}.part"
    if place.exists():  # a restart of the same container
        return place
    try:
        got = await _download(url, part)
    except BackendError as exc:
        raise NoWeights(f"SLUICE_MODEL_URL can't be fetched: {exc}") from None
    except OSError as exc:
        raise NoWeights(f"`{part}`: {exc.strerror}") from exc
    if got != sha256:
        part.unlink()
        raise NoWeights(f"what SLUICE_MODEL_URL gives has the sha256 {got}, not {sha256}")
    part.replace(place)
    return place


async def _download(url: str, part: Path) -> str:
    """Write the answer's body to a file and return its sha256."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    client = Client(f"{parts.scheme}://{parts.netloc}")
    digest = hashlib.sha256()
    try:
        response = await client.request("GET", path, whole=False, timeout_s=HEAD_WITHIN_S)
        if response.status != 200:  # noqa: PLR2004 (OK; redirects are not followed)
            raise NoWeights(f"SLUICE_MODEL_URL answers with status {response.status}")
        with part.open("wb") as file:
            while data := await response.read(PART_WITHIN_S):
                digest.update(data)
                file.write(data)
    finally:
        await client.aclose()
    return digest.hexdigest()
