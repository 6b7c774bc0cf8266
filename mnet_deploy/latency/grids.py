"""Published latencies of MobileNet v1 as grids: 4 widths times 4 resolutions on one device and software."""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import median

from mnet_deploy.errors import SpecError
from mnet_deploy.precision import Precision
from mnet_deploy.spec import ModelSpec

ALPHAS = (0.25, 0.5, 0.75, 1.0)
RESOLUTIONS_PX = (128, 160, 192, 224)
# TensorFlow's checkpoints have a class more than ImageNet: "background".
GRID_SPECS = tuple(
    ModelSpec(alpha=alpha, resolution_px=size, classes=1001) for alpha in ALPHAS for size in RESOLUTIONS_PX
)
LABELS = tuple(f"{spec.alpha_text}-{spec.resolution_px}" for spec in GRID_SPECS)
TEXT_COLUMNS = ("source", "device", "system", "precision", "stat")
LATENCY_COLUMNS = tuple(f"a{spec.alpha_text}_r{spec.resolution_px}" for spec in GRID_SPECS)
PUBLISHED_FILE = "published_grids.csv"

# At 1.0-224. Beyond these, latencies are in another unit: a Raspberry Pi 3 on its worst day computes 1e9 MACs a second,
# a phone's GPU 1e11.
SLOWEST_MACS_PER_S = 3e8
FASTEST_MACS_PER_S = 5e12
_ACCELERATORS = re.compile(r"opencl|gpu|nnapi|cuda|tensorrt|vulkan|edgetpu", re.IGNORECASE)
_PRECISIONS = ((r"u?int8", Precision.INT8), (r"fp16|float16|half", Precision.FP16), (r"fp32|float", Precision.FP32))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedGrid:
    """One row of a table of grids.

    Attributes:
        source: of the publication.
        device: as it says.
        system: software, and what else tells it from others on the device.
        precision_text: as it says.
        stat: which figure of the repeated inferences: `min`, `p50`, `mean`, `p90`, or `unspecified`.
        latency_s: of the models in the order of `GRID_SPECS`.
    """

    source: str
    device: str
    system: str
    precision_text: str
    stat: str
    latency_s: tuple[float, ...]

    @property
    def precision(self) -> Precision:
        """What the precision's text means."""
        return _precision(self.precision_text)

    @property
    def accelerator(self) -> bool:
        """Whether something else than the CPU computes."""
        return _ACCELERATORS.search(self.system) is not None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What rows of the same grid have in common."""
        return self.source, self.device, self.system, self.precision_text


@cache
def published_grids() -> tuple[PublishedGrid, ...]:
    """Return the rows that the project ships."""
    text = resources.files("mnet_deploy.data").joinpath(PUBLISHED_FILE).read_text(encoding="utf-8")
    return read_grids(text, PUBLISHED_FILE)


def read_grids(text: str, name: str) -> tuple[PublishedGrid, ...]:
    """Return the rows of a CSV with the columns `TEXT_COLUMNS` and, in milliseconds, `LATENCY_COLUMNS`.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        SpecError: other columns, no rows, a value that is no latency, or all latencies in another unit.
    """
    try:
        return _read(csv.DictReader(text.lstrip("\ufeff").splitlines()), name)
    except csv.Error as error:
        raise SpecError(f"{name}: expected a CSV. Received: {error}") from None


def _read(reader: "csv.DictReader[str]", name: str) -> tuple[PublishedGrid, ...]:
    missing = [column for column in (*TEXT_COLUMNS, *LATENCY_COLUMNS) if column not in (reader.fieldnames or ())]
    if missing:
        raise SpecError(
            f"{name}: expected the columns {', '.join(TEXT_COLUMNS)} and {LATENCY_COLUMNS[0]} to "
            f"{LATENCY_COLUMNS[-1]} in ms. Received: none of the name {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' * (len(missing) > 3)}"
        )
    grids = tuple(_grid(row, f"{name}, line {reader.line_num}") for row in reader)
    if not grids:
        raise SpecError(f"{name}: expected grids of latencies. Received: a header without rows")
    _require_milliseconds(grids, name)
    return grids


def macs_per_s(grid: PublishedGrid) -> float:
    """Return the rate at which the largest model computes."""
    return sum(layer.macs for layer in GRID_SPECS[-1].layers()) / grid.latency_s[-1]


def _grid(row: dict[str, str | None], where: str) -> PublishedGrid:
    texts = {column: (row[column] or "").strip() for column in TEXT_COLUMNS}
    latencies_s = tuple(_latency_s(row[column], f"{where}, {column}") for column in LATENCY_COLUMNS)
    try:
        _precision(texts["precision"])
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    precision_text, stat = texts.pop("precision"), texts.pop("stat").lower()
    return PublishedGrid(**texts, precision_text=precision_text, stat=stat, latency_s=latencies_s)


def _latency_s(text: str | None, where: str) -> float:
    try:
        latency_ms = float(text or "")
    except ValueError:
        latency_ms = math.nan
    if not 0 < latency_ms < math.inf:
        raise SpecError(f"{where}: expected a latency in ms above 0. Received: {text!r}. Leave out incomplete grids")
    return latency_ms / 1000


def _precision(text: str) -> Precision:
    for pattern, precision in _PRECISIONS:
        if re.search(pattern, text, re.IGNORECASE):
            return precision
    raise SpecError(f"expected a precision such as int8, uint8, fp32 or fp16. Received: {text!r}")


def _require_milliseconds(grids: Sequence[PublishedGrid], name: str) -> None:
    rate = median(macs_per_s(grid) for grid in grids)
    if not SLOWEST_MACS_PER_S <= rate <= FASTEST_MACS_PER_S:
        unit = "microseconds" if rate < SLOWEST_MACS_PER_S else "seconds"
        raise SpecError(
            f"{name}: expected latencies in ms. Received: {grids[0].latency_s[-1] * 1000:g} in the column "
            f"{LATENCY_COLUMNS[-1]}; at {rate / 1e9:.2g} G MACs a second they look like {unit}"
        )
