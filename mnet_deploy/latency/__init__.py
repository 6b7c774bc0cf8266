"""How long a model takes on one device: fitted on a few measurements, predicted with an interval."""

from mnet_deploy.latency.model import BackTest, LatencyModel, Prediction
from mnet_deploy.latency.point import Point
from mnet_deploy.latency.setting import Setting
from mnet_deploy.latency.terms import TERMS, Terms, terms_of

__all__ = ["TERMS", "BackTest", "LatencyModel", "Point", "Prediction", "Setting", "Terms", "terms_of"]
