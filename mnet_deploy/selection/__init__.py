"""Which model to take: what fits a budget, in which order, and what is still in doubt. Knows no device and no file."""

from mnet_deploy.selection.budget import Budget, LatencyEnd, Limit, Miss
from mnet_deploy.selection.candidate import AccuracyFigure, Candidate, Latency
from mnet_deploy.selection.pick import Choice, Nearest, pick

__all__ = [
    "AccuracyFigure",
    "Budget",
    "Candidate",
    "Choice",
    "Latency",
    "LatencyEnd",
    "Limit",
    "Miss",
    "Nearest",
    "pick",
]
