"""What was found out about a file, as one HTML page: styles and pictures are inside, nothing is fetched."""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from mnet_deploy.report.chart import bar_chart

_TEMPLATE = "diagnosis.html.j2"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """A model's accuracy; shares.

    Attributes:
        name: of the model.
        top1: share of images whose class is the best.
        low: lower end of its 95 % interval.
        high: upper end.
        top5: share of images whose class is among the five best.
    """

    name: str
    top1: float
    low: float
    high: float
    top5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """A layer of a file beside float; None where it is not known.

    Attributes:
        name: of the layer.
        sqnr_db: signal over the file's noise.
        cosine: between both outputs.
        mean_shift: in standard deviations.
        saturated: share of values.
        stored_range: least and greatest value.
        marked: whether something is wrong with it.
    """

    name: str
    sqnr_db: float | None
    cosine: float | None
    mean_shift: float | None
    saturated: float | None
    stored_range: tuple[float, float] | None
    marked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingText:
    """What is wrong: its cause in a few words, a sentence on what was seen, one on the remedy (empty: in the first)."""

    title: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What stands on a page.

    Attributes:
        title: the file.
        facts: name and value of what identifies it.
        findings: what is wrong; empty if nothing stands out.
        accuracy: empty where it was not measured.
        accuracy_note: over which images; what the difference is.
        layers: in graph order.
        layers_note: over which images.
        notes: what the reader should know, a sentence each.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[FindingText, ...]
    accuracy: tuple[AccuracyRow, ...]
    accuracy_note: str
    layers: tuple[LayerRow, ...]
    layers_note: str
    notes: tuple[str, ...]


def render_page(page: Page) -> str:
    """Return the HTML."""
    environment = Environment(
        loader=PackageLoader("mnet_deploy.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    chart = bar_chart([(layer.name, layer.sqnr_db, layer.marked) for layer in page.layers])
    return environment.get_template(_TEMPLATE).render(page=page, chart=chart)
