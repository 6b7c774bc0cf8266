"""Look at saved measurements: list them, show one, compare two, write them as a table; or check a table of others.

mnet bench saves each run in the folder mnet-results: a small summary to commit, and the raw samples in its folder raw,
which git ignores. RUN is the id that list prints or the beginning of it, the beginning of a file's name, a file, or
latest. diff refuses what was not measured under the same conditions, names what differs and exits with 2.

check reads a table of latencies from anywhere, a CSV with a column model and some of config, threads, alpha,
resolution_px, mean_ms, median_ms, min_ms, max_ms, count, required_count, window_s, required_window_s (or a JSON list of
such rows), and says what makes its figures doubtful. Exit status 1: something does.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.progress import Progress

HELP = "list, show, compare and export saved measurements; check tables of others"
EXIT_REFUSED = 2
EXIT_DOUBTFUL = 1
_RUN_HELP = "id, beginning of a name, file or latest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (what, _) in _ACTIONS.items():
        action = actions.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        if name == "check":
            action.add_argument("table", type=Path, metavar="FILE", help="a .csv or .json")
            continue
        action.add_argument(
            "--results",
            type=Path,
            metavar="DIR",
            default=Path("mnet-results"),
            help="the folder (default mnet-results)",
        )
        if name == "show":
            action.add_argument("run_name", nargs="?", default="latest", metavar="RUN", help=f"{_RUN_HELP} (default)")
        elif name == "diff":
            action.add_argument("old", metavar="OLD", help=_RUN_HELP)
            action.add_argument("new", nargs="?", default="latest", metavar="NEW", help=f"{_RUN_HELP} (default)")
        elif name == "csv":
            action.add_argument("run_names", nargs="*", metavar="RUN", help=f"{_RUN_HELP}; without any: all runs")
            action.add_argument("--out", type=Path, metavar="FILE", help="write to a file instead of standard output")
            action.add_argument("--force", action="store_true", help="with --out: replace a file that exists")
        if name != "csv":
            action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb's action."""
    return int(_ACTIONS[args.action][1](args))


def _list(args: argparse.Namespace) -> int:
    from mnet_deploy.results.store import list_runs
    from mnet_deploy.results.text import list_text

    found = list_runs(args.results)
    if args.json:
        _print_json({"format": "mnet.results-list/1", "runs": [run.to_json() for run in found.runs]})
    elif found.runs:
        print(list_text(found.runs))
    _note(*found.problems, *([] if found.runs else [f"{args.results}: no runs yet; mnet bench saves them there"]))
    return 0


def _show(args: argparse.Namespace) -> int:
    from mnet_deploy.results.store import find, load_run
    from mnet_deploy.results.text import show_text

    found = load_run(find(args.results, args.run_name))
    if args.json:
        _print_json({"format": "mnet.results-show/1", **found.to_json()})
        return 0
    print(show_text(found))
    if not found.raw:
        _note(f"{found.name}: the raw samples are not here; medians and conditions are those of the summary")
    return 0


def _diff(args: argparse.Namespace) -> int:
    from mnet_deploy.results.pairs import compare_runs
    from mnet_deploy.results.run_file import read_run
    from mnet_deploy.results.store import find
    from mnet_deploy.results.text import diff_text, unpaired_sentences

    old_path, new_path = find(args.results, args.old), find(args.results, args.new)
    if old_path.resolve() == new_path.resolve():
        raise SpecError(f"mnet results diff compares two runs. Received: {old_path.stem} twice")
    old, new = read_run(old_path, raw=False), read_run(new_path, raw=False)
    found = compare_runs(old.measurements, new.measurements)
    if args.json:
        _print_json({"format": "mnet.results-diff/1", "old": old.name, "new": new.name, **found.to_json()})
    elif found.compared:
        print(diff_text(found))
    _note(*unpaired_sentences(found), *found.refused)
    return 0 if found.compared and not found.refused else EXIT_REFUSED


def _csv(args: argparse.Namespace) -> int:
    from mnet_deploy.results.csv_text import csv_text
    from mnet_deploy.results.run_file import read_run
    from mnet_deploy.results.store import find, list_runs

    if args.force and args.out is None:
        raise SpecError("--force is for --out. Received: it alone")
    problems: tuple[str, ...] = ()
    if args.run_names:
        runs = tuple(read_run(find(args.results, name), raw=False) for name in args.run_names)
    else:
        listing = list_runs(args.results)
        runs, problems = listing.runs, listing.problems
    _write(csv_text(runs), args.out, force=args.force)
    _note(*problems)
    return 0


def _check(args: argparse.Namespace) -> int:
    from mnet_deploy.measurement.table_checks import check_table
    from mnet_deploy.measurement.table_rows import rows_from_csv, rows_from_json

    try:
        text = args.table.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{args.table}: expected a table of latencies. Received: {error}") from None
    rows = (rows_from_json if args.table.suffix == ".json" else rows_from_csv)(text)
    findings = check_table(rows)
    for finding in findings:
        print(finding.text)
    _note(f"{len(rows)} rows, {len(findings)} findings")
    return EXIT_DOUBTFUL if findings else 0


def _write(text: str, out: Path | None, *, force: bool) -> None:
    if out is None:
        print(text, end="")
        return
    from mnet_deploy.output_folder import OutputFolder

    with OutputFolder(out.parent, stem=out.name, names={out.name: None}, force=force) as folder:
        folder.stage(out.name, text.encode("utf-8"))
        folder.commit()


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _note(*sentences: str) -> None:
    progress = Progress()
    for sentence in sentences:
        progress.note(sentence)


_ACTIONS = {
    "list": ("list saved measurements, oldest first", _list),
    "show": ("print the measurements of a run with their conditions", _show),
    "diff": ("compare the measurements of two runs", _diff),
    "csv": ("print measurements as a table, one row each", _csv),
    "check": ("say what makes the figures of a table of others doubtful", _check),
}
