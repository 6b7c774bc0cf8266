import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.labels import read_labels, require_labels


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"tench\ngoldfish\n", ("tench", "goldfish")),
        (b"tench\ngoldfish", ("tench", "goldfish")),
        (b"tench\r\ngoldfish\r\n\r\n", ("tench", "goldfish")),
        (b" great white shark \n", ("great white shark",)),
        ("\N{MOUSE FACE} souris\n".encode(), ("\N{MOUSE FACE} souris",)),
        (b"\xef\xbb\xbftench\ngoldfish\n", ("tench", "goldfish")),  # Windows editors put a byte order mark first
        (b"crane\ncrane\n", ("crane", "crane")),  # ImageNet has two: the bird and the machine
    ],
)
def test_one_label_a_line(tmp_path, content, expected):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    assert read_labels(path) == expected


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"tench\n\ngoldfish\n", "line 2 is blank"),
        (b"\ntench\n", "line 1 is blank"),
        (b"tench\n\xff\xfe\n", "codec"),
    ],
)
def test_what_is_no_label_file_is_said(tmp_path, content, received):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=received) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)


def test_a_folder_and_a_missing_file_are_no_label_files(tmp_path):
    for path in (tmp_path, tmp_path / "missing.txt"):
        with pytest.raises(SpecError, match="one label a line"):
            read_labels(path)


def test_labels_must_match_the_classes():
    require_labels(("a", "b"), 2, origin="labels.txt")
    with pytest.raises(SpecError, match=r"which has 3 classes\. Received: 2 labels.*--classes 2"):
        require_labels(("a", "b"), 3, origin="labels.txt")
    with pytest.raises(SpecError, match="no classifier"):
        require_labels(("a",), None, origin="labels.txt")
