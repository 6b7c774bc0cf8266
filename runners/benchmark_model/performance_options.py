"""The summary of `benchmark_model_performance_options`, which runs a model in several ways.

TensorFlow: tensorflow/lite/tools/benchmark/benchmark_performance_options.cc.
"""

import re

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.runners.benchmark_model.latency_summary import LatencySummary, read_summary
from mnet_deploy.runners.benchmark_model.log_lines import log_lines

_HEADING = re.compile(r"=+Summary of All Runs w/ Different Performance Options=+")
_ROW = re.compile(r" *(?P<option>\S.*?): (?P<summary>count=.*)")


def parse_options(stdout: str) -> dict[str, LatencySummary]:
    """Return {`cpu w/ 4 threads (xnnpack)`: its latencies} in the order printed, the fastest first.

    Raises:
        ResultFormatError: there is no summary, or one that was cut off or is there twice.
    """
    found: dict[str, LatencySummary] | None = None
    for line in log_lines(stdout):
        if not line.whole:
            continue
        if _HEADING.fullmatch(line.text):
            if found is not None:
                raise ResultFormatError("one summary of all runs is expected. Received: two; give the log of one run")
            found = {}
        elif found is not None and (row := _ROW.fullmatch(line.text)):
            if row["option"] in found:
                raise ResultFormatError(f"an option is summed up once. Received: {row['option']!r} twice")
            found[row["option"]] = read_summary(row["summary"])
    if not found:
        raise ResultFormatError(
            "benchmark_model_performance_options ends with 'Summary of All Runs' and a row for each option. "
            "Received: a log without; it was cut off, run it again"
        )
    return found
