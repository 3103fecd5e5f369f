"""The forms (JSON Schema) of the files that say what models need and what machines have."""

from typing import Any

Schema = dict[str, Any]

FAMILIES = ["cpu", "cuda", "neuron"]
_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", "description": "a name"}
_TEXT = {"type": "string", "minLength": 1}
_ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_SHARE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_MARK = {"enum": ["measured", "stated", "estimated", "assumed"]}
_DATE = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "description": "a date (YYYY-MM-DD)"}
_FAMILY = {"enum": FAMILIES}
_BOOLEAN = {"type": "boolean"}
_VERSION = {"const": 1, "description": "1, the only version of this form"}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


_MODEL = _object(
    ["id", "repo", "params", "layers", "heads", "vocab", "context_tokens", "source", "as_of"],
    id=_NAME,
    repo=_NAME,
    params=_ABOVE_ZERO,
    active_params=_ABOVE_ZERO,
    experts=_COUNT,
    layers=_COUNT,
    heads=_COUNT,
    kv_heads=_COUNT,
    head_dim=_COUNT,
    kv_latent=_COUNT,
    vocab=_COUNT,
    context_tokens=_COUNT,
    source=_TEXT,
    as_of=_DATE,
)
_BITS = {"bits": _ABOVE_ZERO, "families": _list(_FAMILY), "source": _TEXT}

MODELS = _object(
    ["version", "models", "quantisations", "kv_types"],
    version=_VERSION,
    models=_list(_MODEL),
    quantisations=_list(
        _object(
            ["id", "families", "bits", "source"],
            id=_NAME,
            aliases=_list(_NAME),
            note=_TEXT,
            **_BITS,
        )
    ),
    kv_types=_list(_object(["id", "families", "bits", "source"], id=_NAME, **_BITS)),
)

_FAMILY_ROW = _object(
    [
        "id",
        "engine",
        "usable_share",
        "pads_heads",
        "defaults",
        "defaults_source",
        "context_tokens",
        "context_source",
        "concurrency",
        "overheads",
    ],
    id=_FAMILY,
    engine=_NAME,
    usable_share=_SHARE,
    pads_heads=_BOOLEAN,
    defaults=_list(_NAME),
    defaults_source=_TEXT,
    context_tokens=_COUNT,
    context_source=_TEXT,
    concurrency=_object(
        ["most", "least", "by_cores", "source"],
        most=_COUNT,
        least=_COUNT,
        by_cores=_BOOLEAN,
        source=_TEXT,
    ),
    step=_object(
        ["tokens", "logit_bytes", "mask_bytes", "mark", "source"],
        tokens=_COUNT,
        logit_bytes=_COUNT,
        mask_bytes=_COUNT,
        mark=_MARK,
        source=_TEXT,
    ),
    overheads=_list(
        _object(
            ["what", "gib", "when", "mark", "source"],
            what=_TEXT,
            gib=_ABOVE_ZERO,
            when={"enum": ["always", "alone", "sharded"]},
            mark=_MARK,
            source=_TEXT,
        )
    ),
)
_INSTANCE = _object(
    ["id", "family", "chip", "memory_gib", "source", "as_of"],
    id=_NAME,
    family=_FAMILY,
    chip=_TEXT,
    vcpu=_COUNT,
    cores=_COUNT,
    numa_nodes=_COUNT,
    memory_gib=_ABOVE_ZERO,
    accelerators=_object(
        ["name", "devices", "memory_gib", "tensor_parallel"],
        name=_TEXT,
        devices=_COUNT,
        memory_gib=_ABOVE_ZERO,
        tensor_parallel=_list(_COUNT),
        fp8=_BOOLEAN,
        chips=_COUNT,
        physical_cores=_COUNT,
    ),
    source=_TEXT,
    as_of=_DATE,
)

INSTANCES = _object(
    ["version", "families", "instances"],
    version=_VERSION,
    families=_list(_FAMILY_ROW),
    instances=_list(_INSTANCE),
)

_FLAG = {"type": "string", "pattern": r"^--[a-z][a-z0-9-]*$", "description": "a flag"}
LAUNCH = _object(
    ["version", "rows"],
    version=_VERSION,
    rows=_list(
        _object(
            ["engine", "source", "as_of"],
            engine={"enum": ["llama.cpp", "vllm", "vllm-neuron"]},
            models=_list(_NAME),
            instances=_list(_NAME),
            quantisations=_list(_NAME),
            context_above=_COUNT,
            set=_list(_object(["flag", "why"], flag=_FLAG, value=_TEXT, why=_TEXT)),
            unset=_list(_FLAG),
            checkpoint=_NAME,
            note=_TEXT,
            source=_TEXT,
            as_of=_DATE,
        )
    ),
)
