"""Downloading shards from a real HTTP server that cuts, refuses and lies."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from trainer.data.climbmix import VALIDATION_SHARD, ClimbmixCorpus, shard_name
from trainer.data.download import RetryPolicy, download
from trainer.data.errors import CorpusUnreadableError, DownloadError

QUICK = RetryPolicy(attempts=4, first_pause=0.001, longest_pause=0.01, timeout_seconds=5)


class FaultyServer(http.server.ThreadingHTTPServer):
    """Serves files; each request takes the next fault of its list first.

    Faults: an int is an HTTP status; "cut" sends half of what was asked and closes; "norange" ignores
    the range and sends all.
    """

    def __init__(self, files: dict[str, bytes], faults: list[int | str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults = files, faults
        self.ranges: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range", ""))
        fault = self.server.faults.pop(0) if self.server.faults else None
        data = self.server.files.get(self.path.lstrip("/"))
        if isinstance(fault, int) or data is None:
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        start = 0
        if (asked := self.headers.get("Range")) and fault != "norange":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer({"a.bin": bytes(range(256)) * 4000}, []) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def test_a_cut_download_goes_on_where_it_was_cut(server: FaultyServer, tmp_path: Path) -> None:
    server.faults[:] = ["cut", "cut", 503]
    path = download(f"{server.url}/a.bin", tmp_path / "a.bin", QUICK)
    assert path.read_bytes() == server.files["a.bin"]
    assert server.ranges == ["", "bytes=512000-", "bytes=768000-", "bytes=768000-"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_from_an_earlier_run_is_used(server: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(server.files["a.bin"][:1000])
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", QUICK).read_bytes() == server.files["a.bin"]
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("have", [1_024_000, 2_000_000])
def test_a_part_that_is_too_long_or_complete_ends_right(
    server: FaultyServer, tmp_path: Path, have: int
) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"x" * have)
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", QUICK).read_bytes() == server.files["a.bin"]


def test_a_server_that_ignores_ranges_still_gives_the_file(server: FaultyServer, tmp_path: Path) -> None:
    server.faults[:] = ["cut", "norange"]
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", QUICK).read_bytes() == server.files["a.bin"]


def test_endless_faults_end_with_a_clear_error(server: FaultyServer, tmp_path: Path) -> None:
    server.faults[:] = [500] * 50
    pauses: list[float] = []
    with pytest.raises(DownloadError, match="after 4 attempts"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", QUICK, sleep=pauses.append)
    assert pauses == sorted(pauses)
    assert len(server.ranges) == 4


def test_a_missing_file_is_not_retried(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        download(f"{server.url}/b.bin", tmp_path / "b.bin", QUICK)
    assert len(server.ranges) == 1


def test_a_closed_port_is_a_download_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="after 4 attempts"):
        download("http://127.0.0.1:1/a.bin", tmp_path / "a.bin", QUICK)


def parquet(tmp_path: Path, texts: list[str]) -> bytes:
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "t.parquet")
    return (tmp_path / "t.parquet").read_bytes()


def test_the_last_shard_is_pinned_as_validation(server: FaultyServer, tmp_path: Path) -> None:
    server.files[shard_name(0)] = parquet(tmp_path, ["train 0"])
    server.files[shard_name(1)] = parquet(tmp_path, ["train 1"])
    server.files[shard_name(VALIDATION_SHARD)] = parquet(tmp_path, ["held out"])
    server.faults[:] = ["cut", 500, "cut"]
    corpus = ClimbmixCorpus(tmp_path / "cache", 2, workers=2, base_url=server.url, policy=QUICK)
    assert [d.text for d in corpus.documents()] == ["train 0", "train 1"]
    assert [d.text for d in corpus.pinned_validation() or ()] == ["held out"]
    fetched = len(server.ranges)
    assert [d.text for d in corpus.documents()] == ["train 0", "train 1"]
    assert len(server.ranges) == fetched


def test_a_damaged_shard_is_named_and_fetched_again(server: FaultyServer, tmp_path: Path) -> None:
    server.files[shard_name(0)] = b"not parquet"
    server.files[shard_name(VALIDATION_SHARD)] = parquet(tmp_path, ["held out"])
    corpus = ClimbmixCorpus(tmp_path / "cache", 1, base_url=server.url, policy=QUICK)
    with pytest.raises(CorpusUnreadableError, match="shard_00000"):
        list(corpus.documents())
    server.files[shard_name(0)] = parquet(tmp_path, ["train 0"])
    assert [d.text for d in corpus.documents()] == ["train 0"]
