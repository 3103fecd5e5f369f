"""Who may serve what, and why. Pure: no clock, no network, no environment.

Texts are read by `policies.parse`, which needs YAML; nothing that is imported here does.
"""

from policies.compiled import content_hash, from_compiled
from policies.conditions import LANGUAGES, NEEDS, SERVICE_CLASSES, TASKS, TIERS
from policies.evaluate import Refused, Verdict, evaluate
from policies.model import (
    Breaker,
    Candidate,
    Condition,
    Facts,
    Limits,
    Minimize,
    Policy,
    Rule,
    Settings,
    Slo,
    Soft,
)
from policies.names import Names

__all__ = [
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
]
