"""Which `benchmark_model` is used; addresses are answered by fakes, nothing is got from a network."""

import email.message
import hashlib
import io
import ssl
import struct
import urllib.error
import urllib.request
import urllib.response

import pytest

from mnet_deploy.errors import CommandTimeout, DeviceError, LinkLost, SpecError
from mnet_deploy.runners.benchmark_model import download as download_module
from mnet_deploy.runners.benchmark_model.download import HttpsOnly
from mnet_deploy.runners.benchmark_model.flags import Flavour
from mnet_deploy.runners.benchmark_model.tool import find_tool

URL = "https://example.org/2.2.0/android_arm64/benchmark_model"
AARCH64, X86_64 = 183, 62
CLASSIC = b"use_xnnpack\0enable_op_profiling\0"
LITERT = b"use_npu\0dispatch_library_path\0"
LOADER = b"/system/bin/linker64"


def elf(marks=CLASSIC, *, machine=AARCH64, needed=(), loader=LOADER):
    """Return the bytes of a 64-bit ELF file: headers, its loader's name, what it needs, and some text."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    at, offsets = 1, []
    for name in needed:
        offsets.append(at)
        at += len(name) + 1
    loader_at = 64 + 3 * 56
    names_at = loader_at + len(loader) + 1
    dynamic_at = names_at + len(names)
    dynamic = b"".join(struct.pack("<QQ", 1, offset) for offset in offsets)
    dynamic += struct.pack("<4Q", 5, names_at, 0, 0)
    size = dynamic_at + len(dynamic)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<2HI3QI6H", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    segments = b"".join(
        struct.pack("<2I6Q", kind, 4, offset, offset, 0, length, length, 1)
        for kind, offset, length in (
            (1, 0, size),
            (3 if loader else 4, loader_at, len(loader) + 1),
            (2, dynamic_at, len(dynamic)),
        )
    )
    return header + segments + loader + b"\0" + names + dynamic + marks


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Notes:
    def __init__(self):
        self.notes, self.stages = [], []

    def stage(self, text):
        self.stages.append(text)

    def note(self, text):
        self.notes.append(text)

    def done(self):
        pass


class Answer:
    """What a fake opener returns: content, in parts or all at once."""

    def __init__(self, content, *, length=None, error=None):
        self._file, self._error = io.BytesIO(content), error
        self.headers = {"Content-Length": str(len(content) if length is None else length)}
        self.closed = False

    def read1(self, amount):
        chunk = self._file.read(min(amount, 100))
        if not chunk and self._error:
            raise self._error
        return chunk

    def close(self):
        self.closed = True


class Web:
    """An opener that has answers by address and counts how often it is asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def open(self, url, *, timeout):
        assert timeout > 0
        self.asked.append(url)
        answer = self.answers[url.rpartition("/")[2]]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mnet-deploy" / "benchmark_model"


@pytest.fixture
def put(tmp_path):
    """Write a file into a folder of this machine: `put(content, name)`."""

    def write(content, name="benchmark_model"):
        path = tmp_path / "here" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def find(source, digest=None, **options):
    return find_tool(str(source), digest, **{"progress": Notes(), **options})


def test_a_path(put):
    content = elf()
    path = put(content)
    for digest in (None, sha256(content), sha256(content).upper()):
        tool = find(path, digest)
        assert (tool.path, tool.source, tool.sha256) == (path, str(path), sha256(content))
        assert (tool.flavour, tool.machine, tool.elf.interpreter) == (Flavour.CLASSIC, "aarch64", LOADER.decode())
        assert (tool.companions, tool.origin) == ((), str(path))


def test_the_library_beside_it(put):
    path = put(elf(LITERT, needed=("libc.so", "libLiteRt.so")))
    library = put(elf(b"", loader=b""), "libLiteRt.so")
    put(b"no library of the tool", "libc.so")
    tool = find(path)
    assert tool.flavour is Flavour.LITERT
    (companion,) = tool.companions
    assert (companion.name, companion.path, companion.sha256) == ("libLiteRt.so", library, sha256(library.read_bytes()))
    assert tool.origin == f"{path}; libLiteRt.so {companion.sha256} from {library}"


def test_the_library_that_is_named(put):
    path = put(elf(LITERT, needed=("libLiteRt.so",)))
    put(elf(b"of another version", loader=b""), "libLiteRt.so")
    library = put(elf(b"", loader=b""), "libLiteRt-2.2.so")
    (companion,) = find(path, library=str(library), library_sha256=sha256(library.read_bytes())).companions
    assert (companion.name, companion.path, companion.source) == ("libLiteRt.so", library, str(library))


def test_an_address(cache):
    content, library = elf(LITERT, needed=("libLiteRt.so",)), elf(b"", loader=b"")
    web, progress = Web(benchmark_model=content, **{"libLiteRt.so": library}), Notes()
    library_url = URL.replace("benchmark_model", "libLiteRt.so")
    options = {"library": library_url, "library_sha256": sha256(library), "opener": web, "progress": progress}
    tools = [find(URL, sha256(content), **options) for _ in range(2)]
    assert tools[0] == tools[1]
    assert web.asked == [URL, library_url]
    assert tools[0].path == cache / sha256(content) / "benchmark_model"
    assert tools[0].path.read_bytes() == content
    assert tools[0].companions[0].path == cache / sha256(library) / "libLiteRt.so"
    assert tools[0].origin == f"{URL}; libLiteRt.so {sha256(library)} from {library_url}"
    assert f"of {len(content)} " in progress.stages[0]
    assert not progress.notes


def test_what_was_kept_is_checked_when_it_is_used(cache):
    content = elf()
    web = Web(benchmark_model=content)
    kept = find(URL, sha256(content), opener=web).path
    kept.write_bytes(b"something else")
    assert find(URL, sha256(content), opener=web).path.read_bytes() == content
    assert len(web.asked) == 2
    kept.write_bytes(b"something else")
    (kept.parent / "SHA256SUMS").write_text(f"{sha256(b'something else')}  benchmark_model\n")
    with pytest.raises(SpecError, match=f"remove {kept.parent}"):
        find(URL, sha256(content), opener=web)


@pytest.mark.parametrize("word", ["latest", "nightly"])
def test_an_address_that_changes(word):
    content, progress = elf(), Notes()
    url = URL.replace("2.2.0", word)
    find(url, sha256(content), opener=Web(benchmark_model=content), progress=progress)
    (note,) = progress.notes
    assert note.startswith(f"{url} changes ({word})")


def test_an_address_without_a_digest():
    web = Web()
    with pytest.raises(SpecError, match="--benchmark-model-sha256") as caught:
        find(URL, opener=web)
    message = str(caught.value)
    assert "https://storage.googleapis.com/litert/binaries/VERSION/android_arm64/" in message
    assert "\n" not in message
    assert not web.asked


def test_another_content_than_expected(cache):
    content, expected = elf(), "0" * 64
    with pytest.raises(SpecError, match="nothing was kept") as caught:
        find(URL, expected, opener=Web(benchmark_model=content))
    assert expected in str(caught.value)
    assert sha256(content) in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


CERTIFICATE = ssl.SSLCertVerificationError("self-signed certificate")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (urllib.error.HTTPError(URL, 404, "Not Found", email.message.Message(), io.BytesIO()), DeviceError, "404 Not"),
        (urllib.error.URLError("[Errno -2] Name or service not known"), DeviceError, "not known.*give its path"),
        (urllib.error.URLError(TimeoutError("timed out")), CommandTimeout, "within 30 s"),
        (urllib.error.URLError(CERTIFICATE), DeviceError, "certificate is not trusted"),
        (ConnectionResetError(104, "Connection reset by peer"), DeviceError, "reset by peer"),
        (Answer(b"12345", length=10), LinkLost, "10 bytes were announced and 5 arrived"),
        (Answer(b"12345", error=TimeoutError("timed out")), CommandTimeout, "within 30 s"),
        (Answer(b"12345", length=1 << 40), SpecError, "has more than"),
        (Answer(b"12345", length="9" * 5000), SpecError, "its SHA-256 has to be"),
    ],
)
def test_an_address_that_gives_nothing(answer, kind, words, cache):
    with pytest.raises(kind, match=words):
        find(URL, "0" * 64, opener=Web(benchmark_model=answer))
    assert not list(cache.glob("*/*"))
    if isinstance(answer, Answer):
        assert answer.closed


def test_a_download_that_does_not_end(monkeypatch):
    monkeypatch.setattr(download_module, "TIMEOUT_S", 0.0)
    with pytest.raises(CommandTimeout, match="within 0 s"):
        find(URL, "0" * 64, opener=Web(benchmark_model=elf()))


def test_more_than_was_announced(monkeypatch):
    monkeypatch.setattr(download_module, "LARGEST_BYTES", 150)
    with pytest.raises(SpecError, match="has more than"):
        find(URL, "0" * 64, opener=Web(benchmark_model=Answer(elf(), length="")))


class Redirecting(urllib.request.HTTPSHandler):
    """In place of the network: the first address leads to another one."""

    def __init__(self, target, content):
        super().__init__()
        self.target, self.content = target, content

    def https_open(self, request):
        headers, status = email.message.Message(), 302
        headers["Location"] = self.target
        if request.full_url == self.target:
            headers, status = email.message.Message(), 200
        response = urllib.response.addinfourl(io.BytesIO(self.content), headers, request.full_url, status)
        response.msg = "said"
        return response

    http_open = https_open


@pytest.mark.parametrize("target", ["https://other.example.org/benchmark_model", "http://example.org/benchmark_model"])
def test_redirections_stay_https(target):
    content = elf()
    opener = urllib.request.build_opener(HttpsOnly, Redirecting(target, content))
    if target.startswith("https"):
        assert find(URL, sha256(content), opener=opener).sha256 == sha256(content)
    else:
        with pytest.raises(DeviceError, match=r"leads to http://.*, which is not https"):
            find(URL, sha256(content), opener=opener)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("http://example.org/benchmark_model", {}, "begins with https://"),
        ("ftp://example.org/benchmark_model", {}, "begins with https://"),
        ("https:///benchmark_model", {}, "begins with https://"),
        ("https://me:secret@example.org/benchmark_model", {}, "must not have a name and a password"),
        ("https://example.org:x/benchmark_model", {}, "is no address"),
        ("no such file", {}, "Received: no such file"),
        (".", {}, "which is no file"),
        (URL, {"sha256": "12"}, "64 hexadecimal digits"),
        (URL, {"sha256": "-" * 64}, "64 hexadecimal digits"),
    ],
)
def test_what_is_no_source(source, options, words):
    with pytest.raises(SpecError, match=words) as caught:
        find(source, options.get("sha256"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"#!/bin/sh\n", {}, "ELF"),
        (elf(CLASSIC + LITERT), {}, "flags of both; .*--benchmark-model-flavour classic or litert"),
        (elf(b"use_xnnpack"), {}, "no flags of either"),
        (elf(), {"flavour": "old"}, "classic or litert. Received: 'old'"),
        (elf(), {"digest": "0" * 64}, "it is another file"),
        (elf(), {"library_sha256": "0" * 64}, "give --benchmark-model-library as well"),
        (elf(needed=("libLiteRt.so",)), {}, "needs libLiteRt.so of its own version"),
        (elf(needed=("libc++_shared.so",)), {}, r"needs libc\+\+_shared.so"),
    ],
)
def test_a_file_that_is_no_use(put, content, options, words):
    with pytest.raises(SpecError, match=words):
        find(put(content), **options)


def test_a_home_that_nobody_has():
    with pytest.raises(SpecError, match="Received: ~nobody-of-that-name/tool, which is no file"):
        find("~nobody-of-that-name/tool")


def test_what_it_needs_does_not_lead_out_of_a_folder(put):
    path = put(elf(needed=("libLiteRt.so/../../outside.so", "libtflite/x.so")))
    assert find(path).companions == ()


def test_a_library_for_another_processor(put):
    path = put(elf(needed=("libLiteRt.so",)))
    put(elf(b"", machine=X86_64, loader=b""), "libLiteRt.so")
    with pytest.raises(SpecError, match=r"built for aarch64 \(64 bits\)\. Received: libLiteRt.so for x86_64"):
        find(path)


def test_the_flavour_is_asked_for(put):
    assert find(put(elf(b"")), flavour="litert").flavour is Flavour.LITERT
