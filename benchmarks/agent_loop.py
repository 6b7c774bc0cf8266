"""What the agent's timing loop costs by itself, against the shortest inference worth timing.

The loop of `runners/on_device/agent.py` runs around a call that does nothing, in blocks; the median of the blocks is
printed. What a sample contains of it is the time between its two clock readings; the rest falls between the samples.
"""

import sys
import time
from statistics import median

from mnet_deploy.runners.on_device.agent import garbage_left, timed_loop
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_seconds

SHORTEST_INFERENCE_S = 1e-4
GOAL = 0.01
BLOCKS = 20
CALLS_IN_A_BLOCK = 20_000


def main() -> int:
    inside, whole = (median(costs) for costs in zip(*(block_s() for _ in range(BLOCKS)), strict=True))
    rows = [row("inside a sample", inside), row("a whole turn of the loop", whole)]
    header = ["the agent's loop around nothing", "median", f"of {format_seconds(SHORTEST_INFERENCE_S)}", "goal"]
    print(render_table(header, rows, align="<>>>"))
    return 0


def row(what: str, cost_s: float) -> list[str]:
    return [what, format_seconds(cost_s), f"{cost_s / SHORTEST_INFERENCE_S:.2%}", f"below {GOAL:.0%}"]


def block_s() -> tuple[float, float]:
    """Return the median of what the samples hold, and the mean time of a turn, both in seconds."""
    with garbage_left():
        start_s = time.perf_counter()
        latencies_ns = timed_loop(nothing, block_s=0.0, min_count=CALLS_IN_A_BLOCK, max_count=CALLS_IN_A_BLOCK)
        whole_s = time.perf_counter() - start_s
    return median(latencies_ns) / 1e9, whole_s / CALLS_IN_A_BLOCK


def nothing() -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
