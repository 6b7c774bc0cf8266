"""What a run is on disk: a summary for version control, and the raw samples beside it."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from mnet_deploy import __version__
from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.measurement.as_json import RUN_FORMAT, measurement_to_json, run_from_json
from mnet_deploy.measurement.device_info import DeviceInfo
from mnet_deploy.measurement.json_values import as_value, read_as
from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.measurement.statistics import Spread, spread
from mnet_deploy.results.raw import pack, raw_text, with_raw, without_raw

SUMMARY_SUFFIX = ".json"
RAW_FOLDER = "raw"
RAW_SUFFIX = ".json.gz"
_RAW_NAME = re.compile(rf"{RAW_FOLDER}/[A-Za-z0-9][A-Za-z0-9._-]*{re.escape(RAW_SUFFIX)}")
_MOST_BYTES = 1 << 26  # of a summary: a thousand times what a run of a few configurations takes
_ID_DIGITS = 8
_SLUG_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """The two files of a run, before they are written.

    Attributes:
        stem: of both names: when, on what, and the start of the sha256 of all that was measured.
        summary: content.
        raw: content.
    """

    stem: str
    summary: bytes
    raw: bytes

    @property
    def summary_name(self) -> str:
        """In the folder."""
        return self.stem + SUMMARY_SUFFIX

    @property
    def raw_name(self) -> str:
        """In the folder `RAW_FOLDER` of the folder."""
        return self.stem + RAW_SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that was read.

    Attributes:
        path: of its summary.
        id: eight hexadecimal digits.
        measurements: with their raw samples if `raw` says so.
        spreads: of each measurement's single inferences, also without the raw samples; None where the tool gave only
            summaries.
        mnet_version: that saved it.
        raw: whether the measurements have their raw samples.
    """

    path: Path
    id: str
    measurements: tuple[Measurement, ...]
    spreads: tuple[Spread | None, ...]
    mnet_version: str
    raw: bool

    @property
    def name(self) -> str:
        """Of its summary, without the suffix."""
        return self.path.name.removesuffix(SUMMARY_SUFFIX)

    def to_json(self) -> dict[str, Any]:
        """Return the measurements, with every latency if `raw` says that they are there."""
        return {
            "id": self.id,
            "name": self.name,
            "mnet_version": self.mnet_version,
            "measurements": [
                {**measurement_to_json(measurement), "spread": as_value(spread)}
                for measurement, spread in zip(self.measurements, self.spreads, strict=True)
            ],
        }


def run_files(measurements: Sequence[Measurement]) -> RunFiles:
    """Return the files of a run. The same measurements give the same files.

    Raises:
        SpecError: there is no measurement.
    """
    if not measurements:
        raise SpecError("a run to save has at least one measurement. Received: none")
    summaries = [_summary(measurement) for measurement in measurements]
    text = raw_text(measurements)
    run_id = hashlib.sha256((json.dumps(summaries) + text).encode("utf-8")).hexdigest()[:_ID_DIGITS]
    stem = f"{_timestamp(min(m.measured_at for m in measurements))}-{_slug(measurements[0].device)}-{run_id}"
    raw = pack(text)
    document = {
        "format": RUN_FORMAT,
        "id": run_id,
        "mnet_version": __version__,
        "raw": {
            "file": f"{RAW_FOLDER}/{stem}{RAW_SUFFIX}",
            "sha256": hashlib.sha256(raw).hexdigest(),
            "size_bytes": len(raw),
            "samples": [_sample_count(measurement) for measurement in measurements],
            "warmups": [sum(len(block.warmup_s) for block in measurement.blocks) for measurement in measurements],
        },
        "measurements": summaries,
    }
    summary = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return RunFiles(stem=stem, summary=summary.encode("utf-8"), raw=raw)


def _summary(measurement: Measurement) -> dict[str, Any]:
    return {**measurement_to_json(without_raw(measurement)), "spread": as_value(spread(measurement.latency_s))}


def _sample_count(measurement: Measurement) -> int | None:
    latency = measurement.latency_s
    return None if latency is None else len(latency)


def _timestamp(measured_at: str) -> str:
    try:
        moment = datetime.fromisoformat(measured_at)
    except ValueError:
        raise SpecError(f"measured_at is a time in ISO 8601. Received: {measured_at!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _slug(device: DeviceInfo) -> str:
    """Return a short text for file names that says which device it was, and that it was none if it was emulated."""
    words = re.sub(r"[^a-z0-9]+", "-", (device.model or device.address).lower()).strip("-")
    slug = words[:_SLUG_CHARACTERS].strip("-") or "device"
    return f"{slug}-emulated" if device.emulated else slug


def read_run(path: Path, *, raw: bool) -> Run:
    """Read a run.

    Args:
        path: of its summary.
        raw: whether to read the raw samples as well; a raw file that is not there is no error.

    Raises:
        ResultFormatError: a file cannot be read, is damaged, was changed or is of another version.
    """
    document = _read_document(path)
    try:
        measurements = run_from_json(document)
        record = document["raw"]
        raw_path = path.parent / _inside(record["file"])
        packed = _read_raw(raw_path, str(record["sha256"])) if raw else None
        spreads = tuple(_read_spread(fields["spread"]) for fields in document["measurements"])
        if not measurements:
            raise ValueError("no measurement")
        if packed is not None:
            measurements = with_raw(measurements, packed, origin=str(raw_path))
        return Run(
            path=path,
            id=str(document["id"]),
            measurements=measurements,
            spreads=spreads,
            mnet_version=str(document["mnet_version"]),
            raw=packed is not None,
        )
    except ResultFormatError as error:
        raise ResultFormatError(f"{path}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _no_run(path, repr(error)) from error


def _read_spread(fields: object) -> Spread | None:
    return None if fields is None else read_as(Spread, fields, "spread")


def _read_document(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise _no_run(path, "no file of that name")
        if path.stat().st_size > _MOST_BYTES:
            raise _no_run(path, f"{path.stat().st_size} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _no_run(path, str(error)) from error
    if not isinstance(document, dict) or "format" not in document:
        raise _no_run(path, "JSON without a format")
    if document["format"] != RUN_FORMAT:
        raise ResultFormatError(
            f"{path}: expected a run of the format {RUN_FORMAT}. Received: {document['format']!r}. Give a file that "
            "`mnet bench` saved, and read it with the version of mnet that wrote it"
        )
    return document


def _no_run(path: Path, received: str) -> ResultFormatError:
    return ResultFormatError(
        f"{path}: expected a run that `mnet bench` saved. Received: {received}. Restore the file from version control, "
        "or give another"
    )


def _inside(name: object) -> PurePosixPath:
    """Return the raw file's name, which never leads out of the folder whoever wrote the summary."""
    if not isinstance(name, str) or not _RAW_NAME.fullmatch(name):
        raise ValueError(f"the raw file {name!r}, expected {RAW_FOLDER}/NAME{RAW_SUFFIX}")
    return PurePosixPath(name)


def _read_raw(path: Path, sha256: str) -> bytes | None:
    try:
        packed = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise ResultFormatError(f"the raw samples {path.name} cannot be read ({error.strerror})") from error
    if packed is not None and (actual := hashlib.sha256(packed).hexdigest()) != sha256:
        raise ResultFormatError(
            f"the raw samples {RAW_FOLDER}/{path.name} were changed: expected the sha256 {sha256[:12]}. Received: "
            f"{actual[:12]}. Fetch the file again, or remove it: the medians are in the summary"
        )
    return packed
