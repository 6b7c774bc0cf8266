import io
import sys

from mnet_deploy.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show_on_terminal(monkeypatch):
    """Replace stderr; not as a fixture, since pytest sets its own when the test begins."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def seen(stream):
    """Return the lines that are left on a terminal: what follows a return and an erase replaces what stood there."""
    return [line.rpartition("\r\033[K")[2] for line in stream.getvalue().split("\n")]


def test_a_terminal_shows_the_current_stage_only(monkeypatch):
    terminal = show_on_terminal(monkeypatch)
    progress = Progress()
    progress.stage("reading")
    assert seen(terminal) == ["reading..."]
    progress.stage("converting")
    assert seen(terminal) == ["converting..."]
    progress.note("something to know")
    progress.stage("writing")
    assert seen(terminal) == ["mnet: something to know", "writing..."]
    progress.done()
    assert seen(terminal) == ["mnet: something to know", ""]


def test_a_file_gets_the_notes_only(capsys):
    progress = Progress()
    progress.stage("reading")
    progress.note("something to know")
    progress.done()
    assert capsys.readouterr() == ("", "mnet: something to know\n")
