"""Fetching files over HTTP so that a cut connection costs only the missing bytes.

A file grows as NAME.part with Range requests, is checked against the size the server states, and gets
its name only when whole. Transient faults (connection errors, 408, 425, 429, 5xx, short bodies) are
retried with growing pauses; others fail at once.
"""

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from trainer.data.errors import DownloadError

CHUNK = 1 << 20
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RetryPolicy:
    """attempts without progress before giving up; pause seconds double from first to longest."""

    attempts: int = 6
    first_pause: float = 1.0
    longest_pause: float = 30.0
    timeout_seconds: float = 60.0

    def pause(self, failures: int) -> float:
        return float(min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1)))


def download(
    url: str,
    target: Path,
    policy: RetryPolicy,
    progress: Progress = lambda _n, _d, _t: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Returns target, fetched whole; at once when it is already there.

    progress(file name, bytes so far, bytes in all). Raises DownloadError when attempts run out.
    """
    if target.is_file():
        return target
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            total = _fetch(url, part, before, policy.timeout_seconds, target.name, progress)
            if part.stat().st_size == total:
                os.replace(part, target)
                return target
            if part.stat().st_size > total:
                part.unlink()
            fault = f"got {part.stat().st_size if part.exists() else 0} of {total} bytes"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # our part is longer than the file: start over
                part.unlink(missing_ok=True)
            elif error.code not in TRANSIENT:
                raise DownloadError(f"{url} answered {error.code} {error.reason}") from error
            fault = f"the server answered {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == 28:
                raise
            fault = str(error) or type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        failures = 1 if after > before else failures + 1
        if failures >= policy.attempts:
            raise DownloadError(
                f"{url} could not be fetched after {failures} attempts without progress ({fault});"
                f" {after} bytes are kept, the next try goes on from there"
            )
        sleep(policy.pause(failures))


def _fetch(url: str, part: Path, have: int, timeout: float, name: str, progress: Progress) -> int:
    """Appends what the server sends to part and returns the stated size of the whole file."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if have and answer.status == 200:  # the server ignored the range
            have = 0
            part.unlink(missing_ok=True)
        stated = answer.headers.get("Content-Length")
        content_range = answer.headers.get("Content-Range", "")
        if answer.status == 206 and "/" in content_range and not content_range.endswith("/*"):
            total = int(content_range.rsplit("/", 1)[1])
        elif stated is not None:
            total = have + int(stated)
        else:
            raise DownloadError(f"{url} states no size, so completeness could not be checked")
        with part.open("ab" if have else "wb") as stream:
            done = have
            while chunk := answer.read(CHUNK):
                stream.write(chunk)
                done += len(chunk)
                progress(name, done, total)
            stream.flush()
            os.fsync(stream.fileno())
    return total


def download_all(
    urls: dict[str, Path],
    workers: int,
    policy: RetryPolicy,
    progress: Progress = lambda _n, _d, _t: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Downloads several files in parallel; the first failure is raised after the others have ended."""
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        jobs = [pool.submit(download, url, path, policy, progress, sleep) for url, path in urls.items()]
        for job in as_completed(jobs):
            job.exception()
        return [job.result() for job in jobs]
