"""A folder of templates, as tests ask it."""

import json
from pathlib import Path

from template import Template

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STACKS = ("State", "Router", "Workers", "Observability")


class Synthesised:
    """`code`: what the synthesis ended with; `said`: what it printed; `folder`: its templates."""

    def __init__(self, folder):
        self.folder = folder
        told = json.loads((folder / "told.json").read_text("utf-8"))
        self.code, self.said = told["code"], told["said"]
        assert (folder / "seconds.json").exists(), self.said[-3000:]

    @property
    def seconds(self):
        return json.loads((self.folder / "seconds.json").read_text("utf-8"))

    def report(self):
        return json.loads((self.folder / "validation-report.json").read_text("utf-8"))

    def paths(self):
        return sorted(self.folder.glob("*.template.json"))

    def stack(self, stage, name):
        path = self.folder / f"sluice-{stage}-{name}.template.json"
        return Template(json.loads(path.read_text("utf-8")))

    def stage(self, stage):
        """Return all resources of a stage's stacks as one template."""
        whole = {}
        for name in STACKS:
            found = self.stack(stage, name).resources
            whole |= {f"{name}/{logical}": resource for logical, resource in found.items()}
        return Template({"Resources": whole})
