"""How long predicting takes: five families at 16 sizes, in a new process and again.

Usage: latency_prediction.py [ROUNDS]
"""

import subprocess
import sys
from statistics import median
from time import perf_counter

from mnet_deploy.latency import LatencyModel, Point, Setting
from mnet_deploy.latency.fit import FIVE_MODELS, fit
from mnet_deploy.latency.grids import ALPHAS, RESOLUTIONS_PX
from mnet_deploy.precision import Precision
from mnet_deploy.spec import Family, ModelSpec

SPECS = tuple(
    ModelSpec(family=family, alpha=alpha, resolution_px=size)
    for family in Family
    for alpha in ALPHAS
    for size in RESOLUTIONS_PX
)


def fitted() -> LatencyModel:
    """Return a model; which latencies it was fitted on changes nothing here."""
    setting = Setting(device="none", engine="none", precision=Precision.INT8)
    return fit([Point(spec=spec, latency_s=spec.alpha * spec.resolution_px**2 / 1e6) for spec in FIVE_MODELS], setting)


def seconds(model: LatencyModel) -> float:
    start = perf_counter()
    model.predict_many(SPECS)
    return perf_counter() - start


def main() -> None:
    if sys.argv[1:] == ["--once"]:
        model = fitted()
        print(seconds(model), min(seconds(model) for _ in range(20)))
        return
    rounds = int(sys.argv[1]) if sys.argv[1:] else 5
    command = [sys.executable, __file__, "--once"]
    printed = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(rounds)]
    first, again = (median(column) for column in zip(*(map(float, line.split()) for line in printed), strict=True))
    print(f"{len(SPECS)} predictions: {first * 1e3:.1f} ms the first time, {again * 1e3:.2f} ms again")


if __name__ == "__main__":
    main()
