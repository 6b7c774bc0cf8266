"""What comes from a device or a file cannot act on the terminal."""

import pytest

from mnet_deploy import cli
from mnet_deploy.errors import SpecError
from mnet_deploy.progress import Progress
from mnet_deploy.terminal import printable
from mnet_deploy.text_table import render_table

HOSTILE = "a\x1b]0;title\x07b\x9b2Jc\u202ed"
SHOWN = "a\ufffd]0;title\ufffdb\ufffd2Jc\ufffdd"


def test_what_a_terminal_obeys_is_replaced():
    assert printable(HOSTILE) == SHOWN
    assert printable("half a character: \ud800\n\t") == "half a character: \ufffd\ufffd\ufffd"


@pytest.mark.parametrize("text", ["", "Raspberry Pi 4 Model B Rev 1.5", "12 µs, 45 °C …", "日本語 😀"])
def test_text_stays_as_it_is(text):
    assert printable(text) == text


def test_a_table_obeys_nothing():
    assert SHOWN in render_table(["name"], [[HOSTILE]], align="<")


def test_progress_obeys_nothing(capsys):
    Progress().note(HOSTILE)
    assert capsys.readouterr().err == f"mnet: {SHOWN}\n"


def failing(error):
    def run(args):
        raise error

    return run


def test_an_error_obeys_nothing(monkeypatch, capsys):
    monkeypatch.setattr(cli.cost, "run", failing(SpecError(f"{HOSTILE}\nand more")))
    assert cli.main(["cost"]) == cli.EXIT_USAGE
    assert capsys.readouterr().err == f"mnet: {SHOWN} and more\n"


@pytest.mark.parametrize(("error", "said"), [(KeyboardInterrupt(), "interrupted"), (SpecError("no"), "no")])
def test_a_note_is_said_behind_the_error(monkeypatch, capsys, error, said):
    error.add_note("the governor could not be set back")
    monkeypatch.setattr(cli.cost, "run", failing(error))
    assert cli.main(["cost"]) in (cli.EXIT_INTERRUPTED, cli.EXIT_USAGE)
    assert capsys.readouterr().err == f"mnet: {said}; the governor could not be set back\n"
