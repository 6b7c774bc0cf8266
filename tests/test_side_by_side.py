import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

MIB = 1024 * 1024
HARNESS = Path(__file__).resolve().parent.parent / "benchmarks" / "side_by_side.py"
harness = run_path(str(HARNESS))
Run, Pairs = harness["Run"], harness["Pairs"]


def python(code):
    return [sys.executable, "-c", code]


def test_peak_memory_is_in_bytes():
    # From a small process: Linux counts the memory of the process that started a program as the program's own.
    command = python(f"bytearray({100 * MIB})")
    code = f"from runpy import run_path; print(run_path({str(HARNESS)!r})['measure']({command!r}).peak_rss_bytes)"
    peak = int(subprocess.run(python(code), capture_output=True, check=True, timeout=60).stdout)
    assert 100 * MIB < peak < 150 * MIB  # the interpreter itself takes some 10 MiB


def test_memory_of_a_child_counts():
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray({100 * MIB})'])"
    assert harness["measure"](python(code)).peak_rss_bytes > 100 * MIB


def test_a_failing_command_stops_the_comparison():
    with pytest.raises(RuntimeError, match="ended with 3:\nreason"):
        harness["measure"](python("import sys; print('reason'); sys.exit(3)"))


def test_commands_alternate(tmp_path):
    log = tmp_path / "log"
    commands = [python(f"open({str(log)!r}, 'a').write({name!r})") for name in "AB"]
    pairs = harness["run_pairs"](*commands, rounds=3)
    assert log.read_text() == "AB" + "AB" + "BA" + "AB"  # the first pair is not measured
    assert (len(pairs.ours), len(pairs.theirs)) == (3, 3)


def test_ratios_are_medians_over_pairs_not_ratios_of_medians():
    walls = [(1.0, 2.0), (30.0, 10.0), (5.0, 4.0)]  # ratios 0.5, 3, 1.25; differences -1, 20, 1
    ours, theirs = (tuple(Run(wall_s=pair[i], peak_rss_bytes=1) for pair in walls) for i in (0, 1))
    pairs = Pairs(ours=ours, theirs=theirs)
    assert pairs.wall_ratio == 1.25
    assert pairs.wall_difference_s == 1.0
    assert pairs.wall_s == (5.0, 4.0)
