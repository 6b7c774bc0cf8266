"""A measured latency."""

from dataclasses import dataclass

from mnet_deploy.latency.setting import Setting
from mnet_deploy.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """How long a model took.

    Attributes:
        spec: what was run.
        latency_s: of one inference.
        setting: what it was measured with; None: what the fit is told.
        doubts: why the measurement is SUSPECT, a sentence each; empty if nothing says so, or nobody judged it.
    """

    spec: ModelSpec
    latency_s: float
    setting: Setting | None = None
    doubts: tuple[str, ...] = ()
