"""What `make deploy` and `make destroy` do first."""

import subprocess


def steps(*words):
    ended = subprocess.run(["make", "-n", *words], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_the_stage_is_checked_before_anything_is_fetched():
    _, said, _ = steps("deploy", "STAGE=dev", "CONFIG=ours/deploy.yaml")
    check = "sluice deploy --plan --stage dev --config ours/deploy.yaml"
    assert 0 < said.index(check) < said.index("uv python install")


def test_what_is_brought_up_or_taken_down_is_never_the_example():
    for target in ("deploy", "destroy"):
        _, said, _ = steps(target, "STAGE=dev")
        assert "-c config=deploy.yaml" in said
        assert "examples" not in said


def test_without_a_stage_nothing_is_done_and_it_is_asked_for():
    for target in ("deploy", "destroy"):
        code, said, told = steps(target)
        assert code != 0
        assert "sluice deploy" not in said
        assert "infra.forget" not in said
        assert f"STAGE is missing: make {target} STAGE=dev" in told
