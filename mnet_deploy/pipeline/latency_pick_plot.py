"""The picture of `mnet latency pick`."""

from mnet_deploy.errors import SpecError
from mnet_deploy.pipeline.latency_pick import PickReport
from mnet_deploy.pipeline.latency_pick_text import limits_text, short_name
from mnet_deploy.report.front_plot import FrontPoint, draw_front
from mnet_deploy.selection import Candidate
from mnet_deploy.selection.candidate import Identity


def draw_pick(report: PickReport, picture_format: str) -> bytes:
    """Return the candidates with a published accuracy as `svg` or `png`.

    Raises:
        SpecError: there are none.
    """
    budget = report.request.budget
    front = {one.identity for one in report.choice.front}
    fits = {one.identity for one in report.choice.ranked}
    rated = [one for one in report.candidates if one.accuracy]
    if not rated:
        raise SpecError("--plot draws models with a published accuracy. Received: none. Choose from other families")
    ways = len({(one.engine, one.threads) for one in rated})
    return draw_front(
        [_point(one, front=front, fits=fits, several=ways > 1) for one in rated],
        title=f"{report.ways[0].setting.device} (larger point: larger file)\n{limits_text(budget)}",
        max_latency_s=budget.max_latency_s,
        min_top1=budget.min_top1,
        picture_format=picture_format,
    )


def _point(candidate: Candidate, *, front: set[Identity], fits: set[Identity], several: bool) -> FrontPoint:
    latency, accuracy = candidate.latency, candidate.accuracy
    way = f", {candidate.engine}/{candidate.threads}" if several else ""
    return FrontPoint(
        name=short_name(candidate) + way,
        latency_s=latency.latency_s,
        low_s=latency.low_s,
        high_s=latency.high_s,
        top1=accuracy.top1 if accuracy else 0.0,
        size_bytes=candidate.size_bytes,
        on_front=candidate.identity in front,
        fits=candidate.identity in fits,
    )
