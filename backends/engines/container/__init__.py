"""A model in a container that SageMaker, ECS or a plain machine can run: adapter, image, weights.

* CannotServe        the container can't do its work; it ends, and its log has this one line
  * BadSetting       the environment is at fault: what, where, what would be valid
  * NoWeights        there is no model file, or not the one that was named
  * EngineEnded      the engine died, or does not become ready
"""


class CannotServe(Exception):  # noqa: N818 (says what happened)
    """The message says what to do."""


class BadSetting(CannotServe):
    """One line for each mistake."""


class NoWeights(CannotServe):
    """It never shows a URL: those of S3 carry their signature."""


class EngineEnded(CannotServe):
    """What the engine itself said stands above it in the log."""
