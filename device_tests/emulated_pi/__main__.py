"""`python device_tests/emulated_pi build|run`: see command_line.py."""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the repository's root instead of this folder
runpy.run_module("device_tests.emulated_pi.command_line", run_name="__main__")
