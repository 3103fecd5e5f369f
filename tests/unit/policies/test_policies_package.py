"""The package as others see it."""

import subprocess
import sys

import policies

PUBLIC = {
    "LANGUAGES",
    "NEEDS",
    "SERVICE_CLASSES",
    "TASKS",
    "TIERS",
    "Breaker",
    "Candidate",
    "Condition",
    "Facts",
    "Limits",
    "Minimize",
    "Names",
    "Policy",
    "Refused",
    "Rule",
    "Settings",
    "Slo",
    "Soft",
    "Verdict",
    "content_hash",
    "evaluate",
    "from_compiled",
}


def test_the_public_names_are_these_and_all_there():
    assert set(policies.__all__) == PUBLIC
    assert all(hasattr(policies, name) for name in PUBLIC)


def test_deciding_needs_neither_yaml_nor_json_schema():
    code = (
        "import sys, policies, policies.compiled; "
        "print(sorted({'yaml', 'jsonschema', 'yamlfile', 'backends', 'router'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
