"""The download against a server of our own: good, bad, broken and absent."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from movielens_files import ML_1M
from rich.console import Console

from sources import archive as archive_module
from sources import download as module
from sources import releases, transfer
from sources.download import cached, download
from sources.errors import InputError
from sources.names import ML_100K, OTHER_RELEASES
from sources.progress import progress_bar
from sources.releases import Archive
from sources.source import resolve_source

FILES = ("u.data", "u.item")
CONTENT = {
    "toy/u.data": b"1\t1\t5\t881250949\n" * 20_000,
    "toy/u.item": "1|Café (1995)\n".encode("latin-1"),
    "toy/other": b"not wanted",
}


def zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return buffer.getvalue()


GOOD = zipped(CONTENT)


def archive_of(data: bytes) -> Archive:
    return Archive(
        name="Toy",
        url="http://nowhere.invalid/toy.zip",
        md5=hashlib.md5(data).hexdigest(),
        folder="toy",
        files=FILES,
        ratings_md5=hashlib.md5(CONTENT["toy/u.data"]).hexdigest(),
    )


ARCHIVE = archive_of(GOOD)

PART = ".toy.zip.part"
"""What is kept of a download that was cut off."""


BOMB = gzip.compress(gzip.compress(b"0" * 20_000_000))


def drip(handler):
    """Never ends, and never sends nothing for long."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GOOD)))
    handler.end_headers()
    while not handler.server.done.wait(0.02):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.server.done.wait(0.02):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def drip_chunk_size(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not handler.server.done.wait(0.02):
        handler.wfile.write(b"0")
        handler.wfile.flush()


def packed(status, location=None):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Encoding", "gzip, gzip")
        handler.send_header("Content-Length", str(len(BOMB)))
        if location:
            handler.send_header("Location", location)
        handler.end_headers()
        handler.wfile.write(BOMB)

    return answer


def raw_answer(text):
    return lambda handler: handler.wfile.write(text)


HOSTILE = {
    "drip": drip,
    "drip-headers": drip_headers,
    "drip-chunk-size": drip_chunk_size,
    "bomb": packed(200),
    "bomb-of-a-redirection": packed(302, "/good"),
    "bomb-of-an-error": packed(500),
    "round": packed(302, "/round"),
    "long-header": raw_answer(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
    "many-headers": raw_answer(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n"),
    "long-chunk-size": raw_answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 200_000
    ),
    "large": raw_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 50000001\r\n\r\n"),
    "no-length": raw_answer(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
    "control-characters": raw_answer(b"HTTP/1.1 404 \x1b[31mGone\r\n\r\n"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves what the path says."""

    def do_GET(self):
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        kind = self.path.strip("/")
        body = {
            "good": GOOD,
            "short": GOOD,
            "nolength": GOOD[: len(GOOD) // 2],
            "corrupt": GOOD[:-9] + b"corrupted",
            "page": b"<html>Please log in</html>",
            "endless": b"0" * 1_000_000,
            "ranges": GOOD,
            "other-range": GOOD,
            "custom": self.server.body,  # type: ignore[attr-defined]
        }.get(kind)
        if kind == "good.md5":
            body = self.server.checksum  # type: ignore[attr-defined]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and kind in ("ranges", "other-range"):
            self.rest_of(GOOD, int(start[1]), int(kind == "other-range"))
            return
        if kind == "silent":
            time.sleep(3)
            return
        if kind in HOSTILE:
            HOSTILE[kind](self)
            return
        if kind == "hangup" or body is None:
            if body is None and kind != "hangup":
                self.send_error(404)
            return
        self.send_response(200)
        if kind != "nolength":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if kind == "short" else body)

    def rest_of(self, body, start, off):
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start + off}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.server.sent = len(body) - start  # type: ignore[attr-defined]
        self.wfile.write(body[start:])

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.requests, httpd.body, httpd.done = [], b"", threading.Event()  # type: ignore[attr-defined]
    httpd.checksum, httpd.sent = None, 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd
    httpd.done.set()  # type: ignore[attr-defined]
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOVIELENS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def serve(server, cache, monkeypatch):
    """Makes the download request this path of the server."""

    def use(kind):
        url = f"http://127.0.0.1:{server.server_address[1]}/{kind}"
        monkeypatch.setenv("MOVIELENS_URL", url)
        return url

    return use


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_a_good_file_is_unpacked_into_the_cache(serve, cache):
    serve("good")
    calls = []
    directory = download(ARCHIVE, progress=lambda *args: calls.append(args))
    assert directory == cache / "toy"
    assert names(cache) == ["toy"]
    assert names(directory) == sorted(FILES)
    for name in FILES:
        assert (directory / name).read_bytes() == CONTENT[f"toy/{name}"]
    assert calls[-1] == ("Downloading Toy", len(GOOD), len(GOOD))


def test_a_second_download_is_answered_from_the_cache(serve, server):
    serve("good")
    assert download(ARCHIVE) == download(ARCHIVE) == cached(ARCHIVE)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("short", "cut off"),
        ("nolength", "corrupt"),
        ("corrupt", f"corrupt: {len(GOOD):,} bytes with MD5"),
        ("page", "(a web page)"),
        ("hangup", "cut off"),
        ("missing", "HTTP 404"),
    ],
)
def test_a_bad_download_says_so_and_leaves_nothing(serve, cache, kind, found):
    url = serve(kind)
    with pytest.raises(InputError) as error:
        download(ARCHIVE)
    assert found in error.value.found
    message = str(error.value)
    assert message.count("\n") <= 4
    for part in (url, ARCHIVE.md5, "--data", "MOVIELENS_DIR", "--dataset sample"):
        assert part in message
    assert names(cache) == ([PART] if kind == "short" else [])
    assert cached(ARCHIVE) is None


def test_a_bad_download_is_repaired_by_the_next_one(serve):
    serve("short")
    with pytest.raises(InputError):
        download(ARCHIVE)
    serve("good")
    assert cached(ARCHIVE) is None
    assert download(ARCHIVE) == cached(ARCHIVE)


@pytest.mark.parametrize("length", [1, len(GOOD) // 2, len(GOOD)])
def test_a_download_goes_on_from_where_it_was_cut_off(serve, server, cache, length):
    cache.mkdir()
    (cache / PART).write_bytes(GOOD[:length])
    serve("ranges")
    calls = []
    assert download(ARCHIVE, progress=lambda *args: calls.append(args)) == cached(ARCHIVE)
    assert server.sent == len(GOOD) - length
    assert calls[-1:] == ([("Downloading Toy", len(GOOD), len(GOOD))] if server.sent else [])
    assert names(cache) == ["toy"]


@pytest.mark.parametrize("kind", ["ranges", "other-range", "good"])
@pytest.mark.parametrize("part", [b"x" * 100, GOOD + b"x"], ids=["shorter", "longer"])
def test_a_part_of_another_file_is_received_again(serve, cache, kind, part):
    cache.mkdir()
    (cache / PART).write_bytes(part)
    serve(kind)
    assert download(ARCHIVE) == cached(ARCHIVE)
    assert names(cache) == ["toy"]


@pytest.mark.parametrize(
    ("checksum", "found"),
    [
        (f"MD5 (toy.zip) = {ARCHIVE.md5}\n".encode(), None),
        (f"{'0' * 32}  toy.zip\n".encode(), "corrupt"),
        (b"<html>none</html>", None),
        (b"0" * 5_000, None),
        (None, None),
    ],
    ids=["right", "wrong", "a web page", "too long", "missing"],
)
def test_a_checksum_that_is_published_beside_the_file_is_compared(
    serve, server, cache, checksum, found
):
    server.checksum = checksum
    serve("good")
    unknown = dataclasses.replace(ARCHIVE, md5=None)
    if found is None:
        assert download(unknown) == cache / "toy"
        return
    with pytest.raises(InputError, match=f"(?s){'0' * 32}.*{found}"):
        download(unknown)
    assert names(cache) == []


def test_a_release_is_downloaded_by_its_name_once_whatever_folder_the_environment_names(
    serve, server, cache, tmp_path, monkeypatch
):
    server.body = zipped({f"ml-1m/{name}": data for name, data in ML_1M.items()})
    serve("custom")
    monkeypatch.setenv("MOVIELENS_DIR", str(tmp_path))

    def resolve(**given):
        options = {"data": None, "metadata_dir": None, "output_dir": tmp_path, **given}
        return resolve_source(
            dataset="ml-1m", seed=1, sample_ratings=1000, say=lambda _: None, **options
        )

    first, second = resolve(), resolve()
    assert (first.name, first.source, first.format) == ("ml-1m", "download", "ml-1m")
    assert second == dataclasses.replace(first, source="cache")
    assert server.requests == ["/custom", "/custom.md5"]
    assert first.data_dir == cache / "ml-1m"
    with pytest.raises(InputError, match="--data contradicts --dataset ml-1m"):
        resolve(data=tmp_path)


def test_every_release_can_be_downloaded_by_name(cache, monkeypatch):
    assert set(releases.ARCHIVES) == {ML_100K, *OTHER_RELEASES}
    for name, archive in releases.ARCHIVES.items():
        assert archive.url == f"https://files.grouplens.org/datasets/movielens/{name}.zip"
        assert (archive.md5 is None) == (name != ML_100K)
    monkeypatch.setenv("MOVIELENS_URL", "http://mirror/{name}.zip")
    assert module._url(releases.ARCHIVES["ml-25m"]) == "http://mirror/ml-25m.zip"


def test_a_refused_connection_says_so(cache, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MOVIELENS_URL", f"http://127.0.0.1:{port}/x.zip")
    with pytest.raises(InputError, match="connection refused"):
        download(ARCHIVE)


def test_a_name_that_does_not_resolve_says_so(cache, monkeypatch):
    def no_such_name(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(InputError, match="name cannot be resolved"):
        download(ARCHIVE)


def test_a_name_server_that_never_answers_is_given_up(cache, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(transfer, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: answered.wait(30))
    with pytest.raises(InputError, match="no answer in time"):
        download(ARCHIVE)
    answered.set()


def test_a_silent_server_is_given_up(serve, monkeypatch):
    monkeypatch.setattr(transfer, "READ_SECONDS", 0.2)
    serve("silent")
    with pytest.raises(InputError, match="no answer in time"):
        download(ARCHIVE)


def import_everything(serve):
    serve("missing")
    with pytest.raises(InputError):
        download(ARCHIVE)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("bomb", r"compressed \(gzip, gzip\)"),
        ("bomb-of-an-error", "HTTP 500"),
        ("round", "more than 5 redirections"),
        ("long-header", "LineTooLong|got more than 65536 bytes"),
        ("many-headers", "got more than 100 headers"),
        ("long-chunk-size", ""),
        ("large", "more than 50,000,000 bytes: 50,000,001"),
        ("no-length", "ValueError"),
        ("control-characters", r"HTTP 404 \[31mGone"),
    ],
)
def test_a_hostile_server_is_refused_without_unpacking_or_storing(serve, cache, kind, found):
    import_everything(serve)
    serve(kind)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            download(ARCHIVE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert re.search(found, error.value.found)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert peak < 5_000_000
    assert names(cache) == []


def test_the_body_of_a_redirection_is_not_unpacked(serve, cache):
    import_everything(serve)
    serve("bomb-of-a-redirection")
    tracemalloc.start()
    try:
        assert download(ARCHIVE) == cache / "toy"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("kind", "limit", "found"),
    [
        ("drip", "BLOCK_SECONDS", "too slow"),
        ("drip", "TOTAL_SECONDS", "too slow"),
        ("drip-headers", "ANSWER_SECONDS", "no answer in time"),
        ("drip-chunk-size", "BLOCK_SECONDS", "too slow"),
    ],
)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    serve, cache, monkeypatch, kind, limit, found
):
    monkeypatch.setattr(transfer, limit, 0.3)
    serve(kind)
    with pytest.raises(InputError, match=found):
        download(ARCHIVE)
    assert names(cache) == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "nonsense", "http://"])
def test_an_address_that_is_none_says_so(cache, monkeypatch, url):
    monkeypatch.setenv("MOVIELENS_URL", url)
    with pytest.raises(InputError, match="could not be downloaded"):
        download(ARCHIVE)


def test_a_file_without_end_is_not_stored(serve, cache, monkeypatch):
    monkeypatch.setattr(module, "_MEGABYTE", 6_000)
    serve("endless")
    with pytest.raises(InputError, match="more than 300,000 bytes"):
        download(ARCHIVE)
    assert names(cache) == []


def test_many_downloads_at_once_end_with_one_whole_directory(serve, cache):
    serve("good")
    found, failed = [], []

    def work():
        try:
            found.append(download(ARCHIVE))
        except InputError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert found == [cache / "toy"] * 6
    assert names(cache) == ["toy"]
    assert cached(ARCHIVE) == cache / "toy"


def test_what_another_download_has_just_finished_is_not_taken_for_harmed(serve, cache, monkeypatch):
    serve("good")

    def finished_right_after(archive):
        monkeypatch.setattr(module, "cached", cached)
        download(archive)

    monkeypatch.setattr(module, "cached", finished_right_after)
    assert download(ARCHIVE) == cache / "toy"
    assert names(cache) == ["toy"]
    assert cached(ARCHIVE) == cache / "toy"


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_harmed_cache_is_downloaded_again_and_kept_aside(serve, cache, harm):
    serve("good")
    download(ARCHIVE)
    if harm == "missing":
        (cache / "toy" / "u.item").unlink()
    else:
        (cache / "toy" / "u.data").write_bytes(b"changed")
    assert cached(ARCHIVE) is None
    assert download(ARCHIVE) == cached(ARCHIVE)
    assert names(cache) == ["toy", "toy.damaged-1"]


def test_what_a_killed_download_left_behind_is_removed(serve, cache):
    left = cache / ".toy.staging-abc"
    (left / "payload").mkdir(parents=True)
    (left / "lock").touch()
    os.utime(left, (0, 0))
    serve("good")
    download(ARCHIVE)
    assert names(cache) == ["toy"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"toy/u.data": b"1"}, "no u.item"),
        ({"toy/other": b"1"}, "no data set in it"),
        ({"../toy/u.data": b"1", "../toy/u.item": b"1"}, "a path that leads outside"),
    ],
    ids=["a file missing", "no file", "a path that leads outside"],
)
def test_a_zip_file_of_other_files_is_refused(serve, server, cache, content, problem):
    server.body = zipped(content)
    serve("custom")
    with pytest.raises(InputError, match=f"(?s)could not be unpacked.*{problem}"):
        download(archive_of(server.body))
    assert names(cache) == []
    assert names(cache.parent) in (["cache"], [])


def test_only_known_files_come_out_of_a_zip_file(serve, server, cache):
    server.body = zipped({**CONTENT, "../evil": b"x", "/tmp/evil": b"x", "toy/../../evil": b"x"})
    serve("custom")
    directory = download(archive_of(server.body))
    assert names(directory) == sorted(FILES)
    assert names(cache) == ["toy"]
    assert names(cache.parent) == ["cache"]


def test_a_link_in_a_zip_file_is_refused(serve, server, cache):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("toy/u.data")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("toy/u.item", b"x")
    server.body = buffer.getvalue()
    serve("custom")
    with pytest.raises(InputError, match="not a regular file"):
        download(archive_of(server.body))
    assert names(cache) == []


@pytest.mark.parametrize("lie", [False, True], ids=["by its own account", "against its account"])
def test_a_zip_bomb_is_refused(serve, server, cache, monkeypatch, lie):
    monkeypatch.setattr(archive_module, "MAX_FILE_BYTES", 100_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("toy/u.data", b"0" * 5_000_000)
        file.writestr("toy/u.item", b"x")
    body = buffer.getvalue()
    if lie:
        body = body.replace((5_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    server.body = body
    serve("custom")
    with pytest.raises(InputError, match="could not be unpacked"):
        download(archive_of(body))
    assert names(cache) == []


def test_a_full_disk_is_an_input_error_and_leaves_nothing(serve, cache, monkeypatch):
    serve("good")

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_unpack", full)
    with pytest.raises(InputError, match="No space left on device"):
        download(ARCHIVE)
    assert names(cache) == []


def test_a_cache_that_cannot_be_written_is_an_input_error(serve, tmp_path, monkeypatch):
    serve("good")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOVIELENS_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="cannot be written"):
        download(ARCHIVE)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_drawn_on_a_terminal_only(terminal):
    output = io.StringIO()
    with progress_bar(Console(file=output, force_terminal=terminal, width=80)) as progress:
        progress("Downloading Toy", 0, 0)
        progress("Downloading Toy", 50, 100)
        progress("Generating the sample data", 1, 2)
    assert ("Downloading Toy" in output.getvalue()) is terminal
    assert bool(output.getvalue()) is terminal


def test_the_real_archive_is_the_one_of_the_documentation():
    real = releases.ML_100K
    assert real.url == "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    assert real.md5 == "0e33842e24a9c977be4e0107933c0723"
    with pytest.raises(dataclasses.FrozenInstanceError):
        real.md5 = "another"  # type: ignore[misc]


def test_the_licence_note_says_what_is_forbidden_and_what_to_cite():
    for part in ("research", "redistributed", "Harper", "Konstan", "10.1145/2827872"):
        assert part in releases.LICENCE_NOTE
