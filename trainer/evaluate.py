"""The sealed evaluator: a process of its own that alone holds validation data, and scores logits only.

`python -m trainer.evaluate TRAIN_PY CHECKPOINT DATASET [--json]` by hand, `--job FILE` for the daemon. The
last line on stdout is one JSON object; the candidate's own output goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.errors import ConfigurationError, ServiceError
from trainer.data.dataset import Dataset, open_dataset
from trainer.data.tokenizer import load_token_bytes
from trainer.evaluation.auditing import Scored, audit_first, audit_second, audited_batch_rows, join_audits
from trainer.evaluation.audits import ON_CPU, ON_GPU, most_telling
from trainer.evaluation.candidate_server import HOST, CandidateServer
from trainer.evaluation.device_buffer import DeviceBuffer, find_gpu, plan_buffers
from trainer.evaluation.job import EvaluationJob, obstacle_of, parse_job
from trainer.evaluation.scoring import Tally, bits_per_byte, token_nats
from trainer.evaluation.training_rows import rows_checksum
from trainer.experiment import Audit, Evaluation, Finding
from trainer.flags import FlagParser
from trainer.harness.logit_channel import CandidateFailedError, ChannelError
from trainer.runs.output import printable
from trainer.sandbox.candidate_plan import mask_paths

COMPILED_FROM = 100_000_000  # tokens; below, compiling in two fresh processes costs more than it saves
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Report:
    """The evaluator's answer. finding is that of the failed audit which explains the most; message says
    more, in one line. forward_cpu_seconds is what the candidate used to answer all that was scored,
    start_cpu_seconds what its process took before it loaded anything of the candidate (0: unknown)."""

    val_bpb: float | None
    val_bpb_legacy: float | None
    evaluation: Evaluation
    tokenizer_hash: str
    nats_per_token: float | None = None
    finding: Finding | None = None
    message: str = ""
    candidate_reason: str = ""
    forward_cpu_seconds: float = 0.0
    start_cpu_seconds: float = 0.0

    def to_json(self) -> str:
        return json.dumps({"type": "report", **asdict(self)})


class Evaluator:
    """Scores one checkpoint with one instance and audits it with that and a second, fresh one."""

    def __init__(self, job: EvaluationJob, dataset: Dataset) -> None:
        dataset.verify_evaluation_files()
        manifest = dataset.manifest
        masked = job.masked or mask_paths(manifest.origin_files)
        self._job, self._dataset = replace(job, masked=masked), dataset
        self._vocabulary, self._length = manifest.vocab_size, manifest.context_length
        rows = np.fromfile(dataset.validation_rows, dtype=np.uint16).reshape(-1, self._length + 1)
        if job.validation_tokens:
            rows = rows[: max(1, job.validation_tokens // self._length)]
        self._rows: Rows = rows.astype(np.int64)
        self._exact, self._legacy = load_token_bytes(dataset.tokenizer_folder)
        self._random = np.random.default_rng(job.audit_seed)
        self._tally = Tally()
        self._audits: list[Audit] = []
        self._scoring_seconds = self._audit_seconds = self._forward_cpu = self._start_cpu = 0.0
        self._path, self._path_reason = HOST, ""

    def run(self) -> Report:
        """Never raises for what a candidate does: its failures are findings."""
        try:
            if self._job.rows_consumed:
                self._check_training_rows()
            with ExitStack() as stack:
                self._examine(*self._start(stack))
        except CandidateFailedError as error:
            return self._refuse(_finding_of(error), error.message, error.reason)
        except ChannelError as error:
            return self._refuse(Finding.NO_ANSWER, str(error), "")
        return self._report()

    def _start(self, stack: ExitStack) -> list[CandidateServer]:
        """Two instances. Where their logits stay on the device, torch is loaded here while they load."""
        names = ("first", "second")
        rows, buffers, self._path_reason = plan_buffers(self._job, self._length, self._vocabulary, len(names))
        compiles = self._job.compile == "auto" and self._job.gpus and self._rows.size >= COMPILED_FROM
        self._job = replace(
            self._job,
            batch_rows=audited_batch_rows(rows, len(self._rows)),
            compile="on" if compiles else self._job.compile,
        )
        given: list[DeviceBuffer | None] = [*buffers] or [None] * len(names)
        servers = [
            stack.enter_context(CandidateServer(self._job, name, self._length, self._vocabulary, buffer))
            for name, buffer in zip(names, given, strict=True)
        ]
        with suppress(RuntimeError, AssertionError):  # each says so when it is asked to open its buffer
            for buffer in buffers:
                buffer.clear(1)
        return servers

    def _examine(self, first: CandidateServer, second: CandidateServer) -> None:
        self._check_vocabulary(first.wait_ready())
        self._start_cpu = first.start_cpu_seconds
        self._path, self._path_reason = first.logit_path, first.path_reason or self._path_reason
        began, cpu_began = time.monotonic(), first.cpu_seconds()
        nats = np.concatenate(list(self._score(first)))
        self._scoring_seconds = time.monotonic() - began
        self._forward_cpu = first.cpu_seconds() - cpu_began
        if not np.isfinite(nats).all():
            self._audits.append(Audit("finite", False, finding=Finding.NOT_FINITE))
            return
        self._audits.append(Audit("finite", True))
        self._audits.append(Audit("shape", True))
        began = time.monotonic()
        allowed = ON_CPU if self._job.device == "cpu" else ON_GPU
        scored = Scored(self._rows, nats, self._job.batch_rows)
        own = audit_first(first.logits, scored, self._random, allowed)
        self._audit_seconds = time.monotonic() - began
        first.close()  # while both live, one could tell the other by a lock on any file what it was asked
        second.wait_ready()
        began = time.monotonic()
        asks = second.logits, second.logits_in_turn
        fresh = audit_second(*asks, scored, self._random, allowed, suspicious=own.is_suspicious)
        self._audits += join_audits(own, fresh)
        self._audit_seconds += time.monotonic() - began

    def _score(self, server: CandidateServer) -> Iterator[npt.NDArray[np.float32]]:
        size = self._job.batch_rows
        for start in range(0, len(self._rows), size):
            batch = self._rows[start : start + size]
            targets = batch[:, 1:]
            nats = token_nats(server.logits(batch[:, :-1]), targets)
            self._tally.add(nats, self._exact[targets], self._legacy[targets])
            yield nats

    def _check_vocabulary(self, stated: int) -> None:
        if stated != self._vocabulary:
            message = f"the model has {stated} vocabulary entries, the data {self._vocabulary}"
            raise CandidateFailedError("WRONG_VOCABULARY", message)

    def _check_training_rows(self) -> None:
        job = self._job
        train = json.loads((self._dataset.train_folder / "train.json").read_text(encoding="utf-8"))
        expected = rows_checksum(
            self._dataset.train_folder, train["files"], self._length + 1, job.train_seed, job.rows_consumed
        )
        passed = expected == job.tokens_checksum
        finding = None if passed else Finding.UNTRAINED
        self._audits.append(Audit("training-rows", passed, finding=finding))

    def _report(self) -> Report:
        failed = most_telling(self._audits)
        tally = self._tally
        message = ""
        if failed is not None:
            message = (
                f"audit {failed.name} failed: largest difference {failed.largest_difference:.3g},"
                f" mean {failed.mean_difference:.3g} nats"
            )
        return Report(
            val_bpb=bits_per_byte(tally.nats, tally.bytes),
            val_bpb_legacy=bits_per_byte(tally.nats, tally.legacy_bytes),
            evaluation=self._evaluation(),
            tokenizer_hash=self._dataset.manifest.tokenizer_sha256,
            nats_per_token=tally.nats / max(tally.tokens, 1),
            finding=failed.finding if failed is not None else None,
            message=message,
            forward_cpu_seconds=self._forward_cpu,
            start_cpu_seconds=self._start_cpu,
        )

    def _refuse(self, finding: Finding, message: str, reason: str) -> Report:
        self._audits.append(Audit("answer", False, finding=finding))
        text = printable(message.partition("\n")[0])[:500] or finding.value
        evaluation = self._evaluation()
        digest = self._dataset.manifest.tokenizer_sha256
        return Report(None, None, evaluation, digest, None, finding, text, reason)

    def _evaluation(self) -> Evaluation:
        tally = self._tally
        return Evaluation(
            tally.tokens,
            tally.bytes,
            self._scoring_seconds,
            self._audit_seconds,
            tuple(self._audits),
            self._path,
            self._path_reason,
        )


def _finding_of(error: CandidateFailedError) -> Finding:
    if error.reason == "WRONG_VOCABULARY":
        return Finding.WRONG_VOCABULARY
    if "forward() must return" in error.message:
        return Finding.WRONG_SHAPE
    return Finding.BAD_CHECKPOINT if "the weights" in error.message else Finding.NO_ANSWER


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 scored and accepted, 1 refused or impossible, 2 wrong use."""
    try:
        options = _options(arguments)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        if options.job is not None:
            print(_run(parse_job(options.job.read_text(encoding="utf-8"))).to_json())  # noqa: T201
            return 0
        report = _run_by_hand(options)
    except (ServiceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        if options.job is not None:
            print(obstacle_of(error).to_json())  # noqa: T201
        return 1
    if report.finding is not None:
        print(f"refused: {report.finding}: {report.message}", file=sys.stderr)  # noqa: T201
    print(report.to_json() if options.json else f"val_bpb: {report.val_bpb:.6f}")  # noqa: T201
    return 0 if report.finding is None else 1


def _run(job: EvaluationJob) -> Report:
    return Evaluator(job, open_dataset(Path(job.dataset))).run()


def _run_by_hand(options: argparse.Namespace) -> Report:
    device, ordinal, gpus = find_gpu(options.device)
    with tempfile.TemporaryDirectory() as folder:
        job = EvaluationJob(
            train_py=str(options.train_py.resolve()),
            checkpoint=str(options.checkpoint.resolve()),
            dataset=str(options.dataset.resolve()),
            work=folder,
            tier=options.tier.upper(),
            device=device,
            ordinal=ordinal,
            gpus=gpus,
            share_device=options.logit_path != HOST,
            compile=options.compile,
            attention=options.attention,
            threads=options.threads,
            validation_tokens=options.validation_tokens,
            batch_rows=options.batch_rows,
            audit_seed=time.time_ns(),
            heard=True,
        )
        return _run(job)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.job is None and options.dataset is None:
        parser.error("TRAIN_PY, CHECKPOINT and DATASET are needed")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = FlagParser(prog="python -m trainer.evaluate")
    parser.add_argument("train_py", type=Path, nargs="?")
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder with the weights")
    parser.add_argument("dataset", type=Path, nargs="?", help="folder of one prepared data set")
    parser.add_argument("--job", type=Path, help="the daemon's job, as JSON; replaces all others")
    parser.add_argument("--tier", default="none", choices=["none", "landlock", "bubblewrap"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batch-rows", type=int, default=16)
    parser.add_argument("--validation-tokens", type=int, default=0, help="at most; 0: all there are")
    parser.add_argument("--logit-path", default="auto", choices=["auto", HOST])
    parser.add_argument("--compile", default="auto", choices=["auto", "on", "off"])
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
