"""The forms (JSON Schema) of the files that describe fleets, prices, profiles and quality."""

from typing import Any

Schema = dict[str, Any]

_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$", "description": "a name"}
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}
_ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_MARK = {"enum": ["measured", "stated", "estimated", "assumed"]}
USD_MOST = 1_000_000  # an hour; sums of charges must fit an integer of SQLite, in nano-dollars
_USD = {**_ABOVE_ZERO, "maximum": USD_MOST}
_DATE = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}$",
    "format": "date",
    "description": "a date (YYYY-MM-DD)",
}
API_KEY = (  # a variable, or a secret and its field
    r"^\$\{(?:env:([A-Za-z_][A-Za-z0-9_]*)|secret:([A-Za-z0-9/_+=.@:-]+)(?:#([!-|~]+))?)\}$"
)
_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$", "description": "a currency as CNY"}
ENGINES = ["llama.cpp", "ollama", "vllm", "vllm-neuron", "sglang", "sagemaker", "emulated"]
KINDS = ["openai_http", "sagemaker", "emulated"]
PURCHASES = ["on_demand", "spot", "reserved", "capacity_block", "savings_plan"]
ABILITIES = ["tools", "json", "vision", "thinking", "logprobs"]


def _object(required: list[str], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_MODEL = _object(
    ["id", "context_tokens"],
    id=_NAME,
    context_tokens={"type": "integer", "exclusiveMinimum": 0},
    abilities=_list({"enum": ABILITIES}),
    languages=_TEXTS,
    quality=_NAME,
)
_REPLICAS = _object(
    ["concurrency_each"],
    min=_COUNT,
    max={"type": "integer", "minimum": 1},
    concurrency_each={"type": "integer", "minimum": 1},
    scale_out_at={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
)
_AWS_NAME = {
    "type": "string",
    "pattern": r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$",
    "description": "a name at SageMaker (letters, digits and hyphens, at most 63)",
}
PROTOCOLS = ["openai", "invoke_endpoint"]
RUNS_ON = ["sagemaker", "ecs", "eks"]
_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?Z$",
    "description": "a time in UTC, as 2026-12-01T11:30:00Z",
}
_TRANCHE = _object(
    ["option"],
    option={"enum": PURCHASES},
    replicas=_COUNT,
    reservation={
        "type": "string",
        "pattern": r"^cr-[0-9a-f]{8,17}$",
        "description": "the id of a capacity reservation, as cr-0123456789abcdef0",
    },
    **{"from": _TIME},
    until=_TIME,
)
_RUNS = _object(  # a fleet that the stage makes: docs/lanes.md
    ["on", "weights"],
    on={"enum": RUNS_ON},
    weights={
        "type": "string",
        "pattern": r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[A-Za-z0-9._/=-]+$",
        "description": "a folder or a .gguf in S3, as s3://bucket/models/qwen3-0.6b/",
    },
    quantisation=_NAME,
    kv_type=_NAME,
    image={
        "type": "string",
        "pattern": r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+"
        r"(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$",
        "description": "an image with its tag or digest",
    },
)
_FLEET = _object(
    ["id", "model", "lane", "engine", "kind", "instance", "region", "replicas"],
    id=_NAME,
    model=_NAME,
    lane=_NAME,
    engine={"enum": ENGINES},
    kind={"enum": KINDS},
    url=_TEXT,
    urls={**_TEXTS, "minItems": 1},
    endpoint=_AWS_NAME,
    protocol={"enum": PROTOCOLS},
    inference_component=_AWS_NAME,
    variant=_AWS_NAME,
    prefix_aware_id={
        "type": "string",
        "pattern": r"^[!-~]([ -~]{0,62}[!-~])?$",
        "description": "1 to 64 visible ASCII characters",
    },
    upstream_model=_TEXT,
    api_key={
        "type": "string",
        "writeOnly": True,  # a key that stands here in clear is not repeated in the message
        "pattern": API_KEY,
        "description": "${env:NAME}, ${secret:NAME} or ${secret:NAME#field} of AWS Secrets "
        "Manager (keys don't belong in this file)",
    },
    instance=_NAME,
    region=_NAME,
    purchase={
        "anyOf": [
            {"enum": PURCHASES},
            _list(_TRANCHE),
        ],
        "description": "a purchase option or a list of {option, replicas}",
    },
    usd_per_hour=_USD,
    price_source=_TEXT,
    fallback_usd_per_mtok=_USD,
    replicas=_REPLICAS,
    wake=_object(["seconds", "min_run_seconds"], seconds=_COUNT, min_run_seconds=_COUNT),
    profile=_NAME,
    context_tokens={"type": "integer", "exclusiveMinimum": 0},
    host=_NAME,
    host_share={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    runs=_RUNS,
    marks=_list(_NAME),
)
FLEETS = _object(
    ["version", "fleets", "models"],
    version={"const": 1, "description": "1, the only version of this form"},
    fleets={**_list(_FLEET), "minItems": 1},
    models={**_list(_MODEL), "minItems": 1},
)

_LATENCY = {  # one figure is the median
    "anyOf": [
        _ABOVE_ZERO,
        {
            **_object(
                [],
                mean=_ABOVE_ZERO,
                p50=_ABOVE_ZERO,
                p90=_ABOVE_ZERO,
                p95=_ABOVE_ZERO,
                p99=_ABOVE_ZERO,
            ),
            "anyOf": [{"required": ["p50"]}, {"required": ["mean"]}],
        },
    ],
    "description": "milliseconds, or {mean, p50, p90, p95, p99} with at least p50 or mean",
}
_POINT = _object(
    [],
    concurrency=_ABOVE_ZERO,
    column=_ABOVE_ZERO,
    tokens_in=_ABOVE_ZERO,
    tokens_out=_ABOVE_ZERO,
    tok_s=_ABOVE_ZERO,  # decode only, all streams together
    mix_tok_s=_ABOVE_ZERO,  # output tokens/s of the whole mix, prefill and pauses included
    prefill_tok_s=_ABOVE_ZERO,
    ttft_ms=_LATENCY,
    itl_ms=_LATENCY,
    e2e_ms=_LATENCY,
    requests=_COUNT,  # that were answered
    failed=_COUNT,
    source=_TEXT,
    date=_DATE,
    mark=_MARK,
)
_PROFILE = _object(
    ["id", "model", "instance", "source", "mark", "points"],
    id=_NAME,
    model=_NAME,
    instance=_NAME,
    source=_TEXT,
    date=_DATE,
    mark=_MARK,
    reading={"enum": ["as_stated", "little_consistent"]},
    region=_NAME,
    engine=_TEXT,
    engine_version=_TEXT,
    machine=_TEXT,
    quantisation=_TEXT,
    tokens_in=_ABOVE_ZERO,
    tokens_out=_ABOVE_ZERO,
    prefill_tok_s=_ABOVE_ZERO,
    ttft_ms=_ABOVE_ZERO,
    itl_ms=_ABOVE_ZERO,
    cached_share=_SHARE,
    points={**_list(_POINT), "minItems": 1},
    stated=_object(
        [], e2e_ms=_ABOVE_ZERO, usd_per_request=_ABOVE_ZERO, usd_per_mtok_out=_ABOVE_ZERO
    ),
)
PROFILES = _object(
    ["version", "profiles"],
    version={"const": 1, "description": "1, the only version of this form"},
    profiles=_list(_PROFILE),
)

PRICES = _object(
    ["version", "currency", "prices"],
    version={"const": 1, "description": "1, the only version of this form"},
    currency={"const": "USD", "description": "USD: what other currencies are turned into"},
    exchange=_list(
        _object(
            ["currency", "usd", "as_of", "source"],
            currency=_CURRENCY,
            usd=_ABOVE_ZERO,
            as_of=_DATE,
            source=_TEXT,
        )
    ),
    pools=_list(
        _object(
            ["id", "usd_per_hour", "families"],
            id=_NAME,
            usd_per_hour=_USD,
            families={**_list(_NAME), "minItems": 1},
            regions=_list(_NAME),
        )
    ),
    prices=_list(
        _object(
            ["instance", "region", "purchase", "as_of", "source", "mark"],
            instance=_NAME,
            region=_NAME,
            purchase={"enum": PURCHASES},
            usd_per_hour=_USD,
            per_hour=_ABOVE_ZERO,
            currency=_CURRENCY,
            as_of=_DATE,
            source=_TEXT,
            mark=_MARK,
        )
    ),
)

ROUTER = _object(
    ["version", "places"],
    version={"const": 1, "description": "1, the only version of this form"},
    places=_list(
        _object(
            ["id", "lines"],
            id=_NAME,
            lines=_list(
                _object(
                    [
                        "what",
                        "per",
                        "quantity",
                        "unit",
                        "usd_per_unit",
                        "as_of",
                        "source",
                        "mark",
                    ],
                    what=_TEXT,
                    per={"enum": ["request", "second"]},
                    quantity=_ABOVE_ZERO,
                    unit=_TEXT,
                    usd_per_unit=_ABOVE_ZERO,
                    as_of=_DATE,
                    source=_TEXT,
                    mark=_MARK,
                )
            ),
        )
    ),
)

QUALITY = _object(
    ["version", "tables"],
    version={"const": 1, "description": "1, the only version of this form"},
    tables=_list(
        _object(
            ["id", "by", "source"],
            id=_NAME,
            by={"enum": ["p_small", "scores", "curves"]},
            source=_TEXT,
            scores={"type": "object", "minProperties": 1, "additionalProperties": _ABOVE_ZERO},
            curves={
                **_list(
                    _object(
                        ["task", "points", "mark"],
                        task=_NAME,
                        points={
                            **_list({**_list(_SHARE), "minItems": 2, "maxItems": 2}),
                            "minItems": 1,
                            "description": "a list of [complexity, p], both from 0 to 1",
                        },
                        mark=_MARK,
                        labels=_COUNT,
                        source=_TEXT,
                    )
                ),
                "minItems": 1,
            },
        )
    ),
)
