"""What a fleet that a stage makes can't be: every refusal with its line, and what looks odd."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import yamlfile
from router.deploy.read import stages
from yamlfile import Invalid

EXAMPLE = Path("infra/examples/lanes")
BLOCK = {
    "option": "capacity_block",
    "reservation": "cr-0123456789abcdef0",
    "from": "2026-12-01T11:30:00Z",
    "until": "2026-12-08T11:30:00Z",
}
REST = {"option": "on_demand"}
CERTIFICATE = "arn:aws:acm:us-east-2:111122223333:certificate/01234567"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(EXAMPLE, tmp_path / "lanes"))


@pytest.fixture
def written(folder):
    """Write one of the two files with a change; each key stands on a line of its own."""

    def write(name, change):
        path = folder / name
        value = yamlfile.parse(path.read_text("utf-8"), "").value
        change(value)
        path.write_text(json.dumps(value, indent=1), "utf-8")
        return folder / "deploy.yaml"

    return write


def changed(row, keys):
    """Set keys (None: removed); of `runs` and `replicas` those inside."""
    for key, value in keys.items():
        if value is None:
            row.pop(key, None)
        elif isinstance(value, dict) and key in {"runs", "replicas"}:
            changed(row.setdefault(key, {}), value)
        else:
            row[key] = value


@pytest.fixture
def fleets(written):
    """Change fleets by their ids; return the path of deploy.yaml."""

    def change(**of_fleets):
        def edit(value):
            for row in value["fleets"]:
                changed(row, of_fleets.get(row["id"].replace("-", "_"), {}))

        return written("fleets.yaml", edit)

    return change


@pytest.fixture
def stage(written):
    def change(**keys):
        return written("deploy.yaml", lambda value: changed(value["stages"]["lanes"], keys))

    return change


def problems(path):
    with pytest.raises(Invalid) as told:
        stages(path)
    return told.value.problems


def line_of(problem):
    name, _, line = problem.where.rpartition(":")
    return Path(name).read_text("utf-8").splitlines()[int(line) - 1]


def refused(path, said):
    """Return the line of the one problem that says this."""
    told = problems(path)
    [found] = [problem for problem in told if said in problem.message]
    return line_of(found)


def warned(path):
    return [warning.message for warning in stages(path)["lanes"].warnings]


# ---- one fleet -----------------------------------------------------------------------------------

OTHERS = ("scout_p4d", "scout_g6e", "scout_trn2", "scout_inf2", "scout_inf2_spot")
P5, TRN2, QWEN = "scout_p5", "scout_trn2", "qwen3_graviton"
ON_DEMAND = {"usd_per_hour": None, "price_source": None}
WRONG = [
    # its machine, its engine, its memory
    (P5, {"instance": "p6.48xlarge"}, "no engine setting is known for `p6.48xlarge`", "p6."),
    (P5, {"instance": "h100-80gb"}, "is no instance type of EC2", "h100-80gb"),
    (P5, {"engine": "vllm-neuron"}, "is served by vllm, not by vllm-neuron", "engine"),
    (QWEN, {"engine": "ollama"}, "is served by llama.cpp, not by ollama", "engine"),
    (TRN2, {"runs": {"quantisation": "fp8"}}, "has no quantisation `fp8`", "quantisation"),
    (TRN2, {"runs": {"kv_type": "fp8"}}, "has no cache type `fp8`", "kv_type"),
    (P5, {"runs": {"quantisation": "fp9"}}, "unknown quantisation `fp9` (known: ", "fp9"),
    (TRN2, {"context_tokens": 131072}, "the longest context that fits has", "context_tokens"),
    (P5, {"instance": "p4d.24xlarge", "context_tokens": 131072, "host": "a", "host_share": 0.5,
          "runs": {"quantisation": "int8"}}, "the longest context that fits has", "context_tokens"),
    (TRN2, {"instance": "inf2.xlarge"}, "no context fits: `sluice fleet fit", "inf2.xlarge"),
    (P5, {"instance": "c7i.xlarge", "engine": "llama.cpp"}, "is built for Arm", "c7i"),
    # where it runs
    (P5, {"region": "us-east-1"}, "the stage makes its fleets where it is", "us-east-1"),
    (P5, {"instance": "ml.p5.48xlarge"}, "is SageMaker's: on ecs it is `p5.48xlarge`", "ml."),
    (QWEN, {"instance": "c8g.xlarge"}, "are named `ml.c8g.xlarge`", "c8g"),
    (P5, {"runs": {"on": "sagemaker"}}, "goes with `kind: sagemaker`", '"on"'),
    (QWEN, {"runs": {"on": "ecs"}}, "goes with `kind: openai_http`", '"on"'),
    (QWEN, {"instance": "ml.p5.48xlarge", "engine": "vllm"}, "Graviton alone", '"on"'),
    (QWEN, {"url": "http://127.0.0.1:8080"}, "is the router's own machine", "url"),
    (QWEN, {"host": "shared"}, "don't share machines", "host"),
    (P5, {"url": "https://p5.models.example.com/v1"},
     "write `url: https://scout-p5.models.example.com/v1`", "url"),
    (P5, {"url": "http://scout-p5.models.example.com/v1"}, "the stage makes it at", "url"),
    (P5, {"url": None, "urls": ["https://a.example.com/v1", "https://b.example.com/v1"]},
     "the stage makes it at", "urls"),
    (P5, {"api_key": "${secret:key}"}, "asks for no key", "api_key"),
    # how it is bought
    (P5, {"purchase": "capacity_block"}, "needs `reservation`, `from`, `until`", "purchase"),
    (P5, {**ON_DEMAND, "purchase": [{**BLOCK, "replicas": 1, "reservation": None}, REST]},
     "a Capacity Block needs `reservation`", "capacity_block"),
    (P5, {**ON_DEMAND, "purchase": [{"option": "capacity_block", "replicas": 1}, REST]},
     "needs `reservation`, `from`, `until`", "capacity_block"),
    (QWEN, {"purchase": "spot"}, "are not sold as `spot`", "spot"),
    (QWEN, {"purchase": "reserved"}, "are not sold as `reserved`", "reserved"),
    # waking
    (P5, {"wake": None}, "nobody knows when one is back", "replicas"),
    (QWEN, {"replicas": {"min": 0}, "wake": {"seconds": 300, "min_run_seconds": 600}},
     "doesn't scale to zero", "replicas"),
    # what it serves
    (QWEN, {"runs": {"weights": "s3://ours/qwen3/model.safetensors"}}, "is no .gguf", "weights"),
    (P5, {"runs": {"weights": "s3://ours/scout.gguf"}}, "is a file: vllm takes", "weights"),
    (P5, {"runs": {"weights": "s3://ours/s/model.safetensors"}}, "takes a folder", "weights"),
    (P5, {"runs": {"image": "docker.io/vllm/vllm-openai:v1"}}, "in no registry of ECR", "image"),
    (P5, {"host": "one", "host_share": 0.3}, "only whole ones can be shared out", "host_share"),
    (P5, {"host": "one", "host_share": 0.001}, "(as 0.125)", "host_share"),
    (TRN2, {"host": "one", "host_share": 0.01}, "(as 0.0625)", "host_share"),
]  # fmt: skip


@pytest.mark.parametrize(("fleet", "keys", "said", "line"), WRONG)
def test_a_fleet_that_cant_be_made_is_refused_where_it_says_so(fleets, fleet, keys, said, line):
    keys = {key: _without_none(value) for key, value in keys.items()}
    assert line in refused(fleets(**{fleet: keys}), said)


def _without_none(value):
    if not isinstance(value, list):
        return value
    return [
        {key: kept for key, kept in part.items() if kept is not None}
        if isinstance(part, dict)
        else part
        for part in value
    ]


def test_the_message_names_the_fleet_and_the_stage(fleets):
    [problem] = problems(fleets(scout_p5={"region": "us-east-1"}))
    assert problem.message.startswith("fleet scout-p5: ")
    assert "(stage lanes, " in problem.message


def test_neuron_is_told_what_it_has_instead(fleets):
    said = problems(fleets(scout_trn2={"runs": {"quantisation": "fp8"}}))[0].message
    wanted = "vllm-neuron on trn2.48xlarge has no quantisation `fp8` (known: bf16, f16, int8)"
    assert wanted in said


@pytest.mark.parametrize(
    ("tranche", "said", "line"),
    [
        ({**BLOCK, "until": BLOCK["from"]}, "the block ends at", "until"),
        ({**BLOCK, "until": "2026-11-30T11:30:00Z"}, "before it begins", "until"),
        ({**BLOCK, "from": "2026-13-01T11:30:00Z"}, "is no time", "from"),
        ({"option": "reserved", "from": BLOCK["from"]}, "goes with `capacity_block`", "from"),
        ({"option": "spot", "until": BLOCK["until"]}, "`until` goes with", "until"),
        ({"option": "spot", "reservation": "cr-01234567"}, "not with `spot`", "reservation"),
        ({"option": "on_demand", "reservation": "cr-01234567"}, "not with `on_demand`", "cr-"),
    ],
)  # fmt: skip
def test_a_tranche_has_the_keys_of_its_option_alone(fleets, tranche, said, line):
    purchase = [{**tranche, "replicas": 1}, REST]
    assert line in refused(fleets(scout_p5={**ON_DEMAND, "purchase": purchase}), said)


def fixes(said):
    """Return the YAML that a message tells to write, in the order told."""
    return [yamlfile.parse(text, "").value for text in said.split("`") if ": [{" in text]


def test_what_a_capacity_block_is_told_to_write_is_taken_as_written(fleets, folder):
    [problem] = problems(fleets(scout_p5={"purchase": "capacity_block"}))
    purchase, book = fixes(problem.message)
    (folder / "prices.yaml").write_text(json.dumps(book), "utf-8")
    [p5] = [
        lane.fleet
        for lane in stages(fleets(scout_p5={**ON_DEMAND, **purchase}))["lanes"].lanes
        if lane.name == "scout-p5"
    ]
    assert p5.tariff.tranches[0].reservation == "cr-0123456789abcdef0"
    assert p5.price.usd_per_hour == 98.32


def test_tranches_are_told_where_their_prices_go_and_what_else_is_wrong(fleets, folder):
    purchase = [{"option": "capacity_block", "replicas": 1}, REST]
    path = fleets(scout_p5={"purchase": purchase})
    told = [problem.message for problem in problems(path)]
    [prices] = [said for said in told if "leave out `usd_per_hour` and `price_source`" in said]
    assert any("a Capacity Block needs `reservation`, `from`, `until`" in said for said in told)
    [book] = fixes(prices)
    assert [row["purchase"] for row in book["prices"]] == ["capacity_block", "on_demand"]
    (folder / "prices.yaml").write_text(json.dumps(book), "utf-8")
    path = fleets(scout_p5={**ON_DEMAND, "purchase": [{**BLOCK, "replicas": 1}, REST]})
    found = stages(path)["lanes"].catalogue.fleet("scout-p5").tariff.tranches
    assert [tranche.price.usd_per_hour for tranche in found] == [98.32, 98.32]


@pytest.mark.parametrize(
    ("purchase", "said"),
    [
        ([{"option": "spot", "replicas": 1}, REST], "Spot comes last"),
        ([{**BLOCK, "replicas": 1}, BLOCK], "one Capacity Block at a time"),
        ([{**BLOCK, "until": "2026-12-01T12:05:00Z"}], "let go 40 minutes before `until`"),
    ],
)
def test_what_no_group_of_machines_on_ecs_can_buy_is_refused(fleets, purchase, said):
    found = problems(
        fleets(scout_p5={"usd_per_hour": None, "price_source": None, "purchase": purchase})
    )
    assert any(said in str(problem) for problem in found)


def test_a_capacity_block_with_its_dates_is_taken(fleets):
    purchase = [{**BLOCK, "replicas": 1}, {"option": "reserved", "reservation": "cr-01234567"}]
    path = fleets(scout_p5={**ON_DEMAND, "purchase": purchase})
    [p5] = [lane for lane in stages(path)["lanes"].lanes if lane.name == "scout-p5"]
    assert p5.fleet.tranches[0].until == BLOCK["until"]


@pytest.mark.parametrize("on", ["ecs", "eks"])
def test_a_block_that_has_ended_is_refused_and_one_that_runs_is_told(fleets, on):
    begins, ends = (datetime.fromisoformat(BLOCK[key]) for key in ("from", "until"))
    of_all = {name: {"runs": {"on": on}} for name in OTHERS}
    bought = {**ON_DEMAND, "purchase": [{**BLOCK, "replicas": 1}, REST], "runs": {"on": on}}
    path = fleets(**of_all, scout_p5=bought)
    with pytest.raises(Invalid) as told:
        stages(path, now=ends)
    [problem] = told.value.problems
    assert f"the Capacity Block ended on {BLOCK['until']}" in problem.message
    assert "until" in line_of(problem)
    [odd] = [w for w in stages(path, now=begins)["lanes"].warnings if "began on" in w.message]
    assert "from" in line_of(odd)
    early = stages(path, now=begins - timedelta(seconds=1))["lanes"].warnings
    assert not any("Capacity Block" in each.message for each in early)


# ---- SageMaker and China -------------------------------------------------------------------------


def test_an_inference_component_may_scale_to_zero(fleets):
    keys = {"replicas": {"min": 0}, "wake": {"seconds": 300, "min_run_seconds": 600}}
    path = fleets(qwen3_graviton={**keys, "inference_component": "qwen3"})
    assert stages(path)["lanes"].lanes[0].fleet.replicas.min == 0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"inference_component": "qwen3"}, "China has no inference components"),
        ({"replicas": {"min": 0}}, "take `min: 1`"),
    ],
)
def test_china_has_plain_endpoints_alone(written, fleets, keys, said):
    def edit(value):
        row = value["stages"]["lanes"]
        changed(row, {"region": "cn-north-1", "partition": "aws-cn", "lanes": None})
        row["fleets"]["use"] = ["qwen3-graviton"]

    china = {"region": "cn-north-1", "protocol": "invoke_endpoint"}
    fleets(qwen3_graviton={**china, **keys})
    told = problems(written("deploy.yaml", edit))
    [found] = [problem for problem in told if said in problem.message]
    assert "inference_component`" not in found.message


# ---- the stage -----------------------------------------------------------------------------------


def test_machines_of_its_own_need_a_domain(stage):
    told = problems(stage(lanes=None))
    assert sum("needs `lanes: {domain, certificate}`" in each.message for each in told) == 6


def test_machines_of_its_own_need_a_network(stage):
    told = problems(stage(size="small"))
    assert sum("it goes with `size: prod`" in each.message for each in told) == 6
    [of_stage] = [each for each in told if "they go with `size: prod`" in each.message]
    assert "lanes" in line_of(of_stage)


def test_a_domain_that_no_fleet_needs_is_refused(written):
    def edit(value):
        value["stages"]["lanes"]["fleets"]["use"] = ["qwen3-graviton"]

    line = refused(written("deploy.yaml", edit), "no fleet of this stage has `runs: {on: ecs}`")
    assert "lanes" in line


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        (CERTIFICATE.replace("us-east-2", "us-east-1"), "it is of region us-east-1"),
        (CERTIFICATE.replace("1111", "9999"), "it is of account 999922223333"),
        (CERTIFICATE.replace("arn:aws:", "arn:aws-cn:"), "it is of partition aws-cn"),
        ("arn:aws:iam::111122223333:server-certificate/x", "no ARN of an ACM certificate"),
    ],
)
def test_the_certificate_of_lanes_is_the_stages_own(stage, arn, said):
    line = refused(stage(lanes={"domain": "models.example.com", "certificate": arn}), said)
    assert "certificate" in line


# ---- fleets beside one another -------------------------------------------------------------------


def on_one_host(**keys):
    """Two halves of a p5: the rows of scout-p5 and of what was scout-p4d."""
    half = {"host": "big", "host_share": 0.5, "instance": "p5.48xlarge", "context_tokens": 16384}
    return {"scout_p5": half, "scout_p4d": {**half, **keys}}


def test_two_fleets_share_one_host(fleets):
    found = stages(fleets(**on_one_host()))["lanes"]
    assert [(lane.host, lane.devices) for lane in found.lanes[1:3]] == [("big", 4), ("big", 4)]


@pytest.mark.parametrize(
    ("keys", "said", "line"),
    [
        ({"instance": "p4d.24xlarge"}, "`instance` must be scout-p5's", "p4d.24"),
        ({"replicas": {"max": 3}}, "`replicas.max` must be scout-p5's", "max"),
        ({"replicas": {"min": 1}}, "`replicas.min` must be scout-p5's", "min"),
        ({"purchase": "spot"}, "`purchase` must be scout-p5's", "spot"),
        ({"runs": {"on": "eks"}}, "`runs.on` must be scout-p5's", "eks"),
        ({"host_share": 0.75}, "1 is all of it", "host"),
        ({"runs": None}, "give both `runs`, or another host", "host"),
    ],
)
def test_fleets_of_one_host_have_the_same_machines(fleets, keys, said, line):
    assert line in refused(fleets(**on_one_host(**keys)), said)


def renamed(written, old, new, **keys):
    def fleets_file(value):
        [row] = [row for row in value["fleets"] if row["id"] == old]
        changed(row, {"id": new, **keys})

    def deploy_file(value):
        use = value["stages"]["lanes"]["fleets"]["use"]
        use[use.index(old)] = new

    written("policy.yaml", lambda value: value.pop("baseline", None))
    written("fleets.yaml", fleets_file)
    return written("deploy.yaml", deploy_file)


def test_two_fleets_of_one_name_on_aws_are_refused(written):
    said = "`scout.p5` and `scout-p5` would both be called `scout-p5`"
    url = "https://scout-p5.models.example.com/v1"
    assert "scout.p5" in refused(renamed(written, "scout-p4d", "scout.p5", url=url + "/"), said)


def test_a_host_is_not_called_as_another_fleet(fleets):
    said = "the machines of `scout.p5` and of `scout-p5` would both be called"
    assert "host" in refused(fleets(scout_p4d={"host": "scout.p5"}), said)


def test_a_name_that_aws_would_cut_is_refused(written):
    long = "scout-" + "4" * 40
    url = f"https://{long}.models.example.com/v1"
    assert long in refused(renamed(written, "scout-p4d", long, url=url), "1 to 38 letters")


def test_one_endpoint_is_made_once(written):
    def edit(value):
        [qwen] = [row for row in value["fleets"] if row["id"] == "qwen3-graviton"]
        value["fleets"].append({**qwen, "id": "second"})

    written("fleets.yaml", edit)
    path = written("deploy.yaml", lambda v: v["stages"]["lanes"]["fleets"]["use"].append("second"))
    assert "endpoint" in refused(path, "is made for fleet qwen3-graviton already")


def test_a_stage_has_one_kind_of_cluster(fleets):
    line = refused(fleets(scout_g6e={"runs": {"on": "eks"}}), "a stage has one kind of cluster")
    assert '"on": "eks"' in line


# ---- what looks odd ------------------------------------------------------------------------------


def test_the_example_is_made_with_doubts_about_memory_and_neuron_alone():
    said = warned(EXAMPLE / "deploy.yaml")
    assert len(said) == 10
    assert any("scout-p5: of 256 streams 27 fit with 65,536 tokens each" in each for each in said)
    assert sum("nobody has verified `llama-4-scout` on Neuron" in each for each in said) == 3
    assert sum("40 attention heads over" in each for each in said) == 3
    assert not any("must resolve" in each for each in said)  # the stage makes these names itself


def test_a_wake_time_far_below_what_neuron_compiles_for_is_a_doubt(fleets):
    said = warned(fleets(scout_trn2={"wake": {"seconds": 600, "min_run_seconds": 3600}}))
    [found] = [each for each in said if "a new machine compiles" in each]
    assert "scout-trn2" in found


def test_streams_that_fit_are_no_doubt(fleets):
    said = warned(fleets(scout_p5={"replicas": {"concurrency_each": 27}}))
    assert not any("scout-p5" in each for each in said)


def test_a_part_of_a_machine_that_nobody_has_is_told(fleets):
    said = warned(fleets(**on_one_host(host_share=0.25)))
    [found] = [each for each in said if "add up to 0.75" in each]
    assert "in no fleet's cost" in found
    assert not any("add up to" in each for each in warned(fleets(**on_one_host())))


def test_spot_alone_may_have_no_machine_when_it_is_to_wake(fleets):
    spot = [{"option": "on_demand", "replicas": 1}, {"option": "spot"}]
    alone = warned(fleets(scout_p5={"purchase": "spot"}))
    assert any("scout-p5: `min: 0` on Spot alone" in each for each in alone)
    both = warned(fleets(scout_p5={**ON_DEMAND, "purchase": spot}))
    assert not any("scout-p5: `min: 0` on Spot alone" in each for each in both)
