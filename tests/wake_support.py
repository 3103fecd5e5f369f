"""A stage's fleets that scale to zero, and ECS's side of one as moto plays it."""

STAGE, COMPONENT = "test", "sluice-test-component"
SERVICE = ("sluice-test", "sluice-test-lane")
SCALED = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/sluice-test/sluice-test-lane",
    "ScalableDimension": "ecs:service:DesiredCount",
}
# Only a fleet whose time to the first token nobody knows meets this: those that were measured are
# slower, and what is predicted of them is relaxed.
TOO_SOON = (
    "  - {id: all, use: {in_order: [accelerator, cpu]}, slo: {ttft_p95_ms: 0.01}, "
    "relax: [slo.ttft]}\n"
)
HEAD = """version: 1
models:
  - {id: m, context_tokens: 4096, abilities: [json], languages: [en]}
fleets:
"""
FLEET = """  - {{id: {id}, model: m, lane: {lane}, engine: vllm, instance: g6e.xlarge,
     region: us-east-1, usd_per_hour: 2, fallback_usd_per_mtok: 1,
     wake: {{seconds: 300, min_run_seconds: 600}},
     replicas: {{min: 0, max: 4, concurrency_each: 4, scale_out_at: 0.7}}, {more}}}
"""


def fleets_of(url, *others):
    """Return a catalogue: one fleet on ECS, one on EKS, a component of SageMaker's, and others."""
    runs = 'runs: {{on: {on}, weights: "s3://models/m/"}}'
    asked = f'kind: openai_http, url: "{url}", '
    component = f"kind: sagemaker, endpoint: ours, inference_component: {COMPONENT}, "
    lane = "accelerator"
    return HEAD + "".join(
        [
            FLEET.format(id="lane", lane=lane, more=asked + runs.format(on="ecs")),
            FLEET.format(id="on-eks", lane=lane, more=asked + runs.format(on="eks")),
            FLEET.format(id="component", lane=lane, more=component + runs.format(on="sagemaker")),
            *others,
        ]
    )


def make_service(ecs, scaling):
    """Make the service of the fleet `lane`, asleep; return what removes it."""
    cluster, service = SERVICE
    ecs.create_cluster(clusterName=cluster)
    container = {"name": "engine", "image": "i", "memory": 512}
    ecs.register_task_definition(family="lane", containerDefinitions=[container])
    ecs.create_service(cluster=cluster, serviceName=service, taskDefinition="lane", desiredCount=0)
    scaling.register_scalable_target(**SCALED, MinCapacity=0, MaxCapacity=4)

    def remove():
        scaling.deregister_scalable_target(**SCALED)
        found = ecs.describe_services(cluster=cluster, services=[service])["services"]
        if any(each["status"] == "ACTIVE" for each in found):
            ecs.delete_service(cluster=cluster, service=service, force=True)
        ecs.delete_cluster(cluster=cluster)

    return remove


def state_of(ecs, scaling):
    cluster, service = SERVICE
    (found,) = ecs.describe_services(cluster=cluster, services=[service])["services"]
    targets = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    (target,) = [each for each in targets if each["ResourceId"] == SCALED["ResourceId"]]
    return {"least": target["MinCapacity"], "most": target["MaxCapacity"],
            "wanted": found["desiredCount"]}  # fmt: skip
