"""What TensorFlow's own converter writes: slow precisions, and models with a classifier that is not the family's."""

from collections.abc import Iterator
from dataclasses import replace

from mnet_deploy.converters import tensorflow_converter
from mnet_deploy.converters.options import FileFormat, IoType
from mnet_deploy.cost import Precision
from mnet_deploy.models.builder import build, with_static_batch
from mnet_deploy.pipeline.candidates import Candidate
from mnet_deploy.pipeline.export_job import ExportJob
from mnet_deploy.progress import Progress
from mnet_deploy.quiet import silenced_native_output

_SLOW = {
    Precision.DYNAMIC: "dynamic range is slower than fp32 on a CPU (8.4 ms against 5.1 for 1.0-224; int8 takes 1.8)",
    Precision.INT16X8: "int16x8 has no fast CPU kernels (208 ms for 1.0-224; int8 takes 1.8)",
}  # measured with LiteRT 2.3, one thread, x86-64 with AVX-512 VNNI


def converted(
    job: ExportJob, precision: Precision, name: str, twin_name: str | None, progress: Progress
) -> Iterator[Candidate]:
    """Convert a Keras model: the user's own, or one that is built from the weights."""
    if precision in _SLOW:
        progress.note(_SLOW[precision])
    with silenced_native_output():  # Keras warns of a softmax over a single class, for example
        model = with_static_batch(job.keras_model or build(job.loaded.spec, job.loaded.weights))
    main = Candidate(
        name=name,
        file_format=FileFormat.TFLITE,
        precision=precision,
        io=IoType.FLOAT,
        content=tensorflow_converter.convert(model, precision, job.inputs),
        tool_versions={"tensorflow": tensorflow_converter.VERSION, "keras": tensorflow_converter.KERAS_VERSION},
    )
    if precision is not Precision.INT8:
        yield main
        return
    chosen = _with_io(main, job.request.io or IoType.INT8)
    yield chosen
    if twin_name is not None:
        yield _with_io(replace(main, name=twin_name, derived_from=chosen.sha256), IoType.UINT8)


def _with_io(candidate: Candidate, io: IoType) -> Candidate:
    if io is IoType.FLOAT:
        return candidate
    return replace(candidate, io=io, content=tensorflow_converter.with_io(candidate.content, io))
