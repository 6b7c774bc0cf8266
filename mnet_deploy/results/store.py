"""The folder of measurements: a summary a run, never changed, and raw samples that version control need not keep.

No index and no lock of the whole: names are unique because they end in the sha256 of what was measured, so any number
of runs may save at once, and two clones of a repository merge without conflict.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.output_folder import OutputFolder
from mnet_deploy.results.run_file import RAW_FOLDER, SUMMARY_SUFFIX, Run, read_run, run_files

LATEST = "latest"
OPTION = "--results"
_IGNORE_NAME = ".gitignore"
_IGNORE = f"/{RAW_FOLDER}/\n.*.part\n.*.lock\n".encode()
_STEM = re.compile(r"\d{8}T\d{6}Z-.*-[0-9a-f]{8}")
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """Where a run was saved.

    Attributes:
        path: of the summary.
        raw_path: of the raw samples.
    """

    path: Path
    raw_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a folder holds.

    Attributes:
        runs: that could be read, oldest first, without raw samples.
        problems: of the other .json files, a sentence each that names the file.
    """

    runs: tuple[Run, ...]
    problems: tuple[str, ...]


def require_writable(folder: Path) -> None:
    """Find out before a run whether it can be saved; nothing is left.

    Raises:
        SpecError: the folder cannot be written.
    """
    with OutputFolder(folder, stem=".probe", names={}, force=False, option=OPTION) as output:
        output.stage(".probe", b"")


def save_run(measurements: Sequence[Measurement], folder: Path) -> SavedRun:
    """Save what was measured together. The raw samples come first: a summary always finds them.

    Saving the same measurements again changes nothing.

    Raises:
        SpecError: nothing was measured, or the folder cannot be written.
    """
    files = run_files(measurements)
    new = not _summaries(folder) and not (folder / _IGNORE_NAME).exists()
    names = {files.summary_name: files.summary} | ({_IGNORE_NAME: _IGNORE} if new else {})
    raw_folder = folder / RAW_FOLDER
    raw_names = {files.raw_name: files.raw}
    with (
        OutputFolder(folder, stem=files.stem, names=names, force=False, option=OPTION) as summaries,
        OutputFolder(raw_folder, stem=files.stem, names=raw_names, force=False, option=OPTION) as raws,
    ):
        _write(raws, raw_names)
        _write(summaries, names)
    return SavedRun(path=folder / files.summary_name, raw_path=raw_folder / files.raw_name)


def _write(output: OutputFolder, names: dict[str, bytes]) -> None:
    for name, content in names.items():
        output.stage(name, content)
    output.commit()


def _summaries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{SUMMARY_SUFFIX}") if not path.name.startswith("."))


def load_run(path: Path) -> Run:
    """Read a run with its raw samples if they are there.

    Raises:
        ResultFormatError: a file is damaged, was changed or is of another version.
    """
    return read_run(path, raw=True)


def list_runs(folder: Path) -> Listing:
    """Read every summary of a folder; what is none is named, not hidden.

    Raises:
        SpecError: there is no such folder.
    """
    runs, problems = [], []
    for path in _summaries(_required(folder)):
        try:
            runs.append(read_run(path, raw=False))
        except ResultFormatError as error:
            problems.append(str(error))
    return Listing(runs=tuple(sorted(runs, key=_age)), problems=tuple(problems))


def _age(run: Run) -> tuple[str, str]:
    return min(measurement.measured_at for measurement in run.measurements), run.name


def find(folder: Path, reference: str) -> Path:
    """Return the summary that a reference means.

    Args:
        folder: of the runs.
        reference: `latest`; a file's name or path; or the beginning of one run's name or id.

    Raises:
        SpecError: it means no run, or several.
    """
    direct = Path(reference)
    if direct.suffix == SUMMARY_SUFFIX:
        for path in (direct, folder / direct):
            if path.is_file():
                return path
        raise SpecError(f"{direct}: expected a stored run. Received: no file of that name, here or in {folder}")
    paths = _summaries(_required(folder))
    exact = [path for path in paths if reference == path.stem]
    runs = [path for path in paths if _STEM.fullmatch(path.stem)]
    found = exact or (runs[-1:] if reference == LATEST else [path for path in runs if _begins(path, reference)])
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(path.stem for path in found[:_MOST_NAMED]) + ", ..." * (len(found) > _MOST_NAMED)
        raise SpecError(f"{reference!r} is the beginning of {len(found)} runs: {named}. Give more of it")
    raise SpecError(
        f"a run is named by its id, the beginning of its name, a file, or {LATEST}. Received: {reference!r}, which "
        f"{folder} does not have. `mnet results list` shows what is there"
    )


def _begins(path: Path, reference: str) -> bool:
    run_id = path.stem.rpartition("-")[2]
    return bool(reference) and any(name.startswith(reference) for name in (path.stem, run_id))


def _required(folder: Path) -> Path:
    if not folder.is_dir():
        raise SpecError(
            f"{folder}: expected a folder of results. Received: no folder of that name. Measure with `mnet bench` "
            f"first, or give {OPTION} DIR"
        )
    return folder
