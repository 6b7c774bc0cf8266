import logging
import os
import sys
import warnings

import pytest

from mnet_deploy.quiet import silenced_native_output


def talk():
    """Print in every way that a library has."""
    os.write(1, b"native stdout\n")
    os.write(2, b"native stderr\n")
    print("stdout")
    print("stderr", file=sys.stderr)
    warnings.warn("a warning", stacklevel=1)


def test_nothing_is_said_inside_and_everything_outside(capfd):
    with silenced_native_output():
        talk()
    assert capfd.readouterr() == ("", "")
    with pytest.warns(UserWarning, match="a warning"):
        talk()
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["native stdout", "stdout"]
    assert sorted(err.splitlines()) == ["native stderr", "stderr"]


def test_an_exception_passes_and_the_streams_are_back(capfd):
    with pytest.raises(KeyboardInterrupt), silenced_native_output(), silenced_native_output():
        raise KeyboardInterrupt
    print("stdout")
    assert capfd.readouterr().out == "stdout\n"


def test_a_logger_set_up_inside_does_not_break_later(capfd):
    with silenced_native_output():
        handler = logging.StreamHandler()
    handler.emit(logging.LogRecord("library", logging.WARNING, "", 0, "said later", (), None))
    assert capfd.readouterr() == ("", "")
