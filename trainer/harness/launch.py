"""`python -m trainer.harness.launch TRAIN_PY`: runs a candidate's train(run) and names its failure."""

import os
import sys
import traceback
from pathlib import Path

from trainer.harness.checkpoint_names import DESCRIPTION_FILE, WEIGHTS_FILE
from trainer.harness.events import EventWriter
from trainer.harness.failures import ContractError, classify_failure
from trainer.harness.run_spec import RunSpec, read_run_spec


def main(arguments: list[str]) -> int:
    """Exit codes: 0 trained, 1 failed (the reason is in the failure event and on stderr), 2 wrong use."""
    if len(arguments) != 1:
        print("usage: python -m trainer.harness.launch TRAIN_PY", file=sys.stderr)
        return 2
    try:
        run = read_run_spec()
    except ContractError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run_candidate(Path(arguments[0]), run)


def run_candidate(path: Path, run: RunSpec) -> int:
    """Trains; on failure emits the event, prints the candidate's traceback and returns 1."""
    prepare_threads(run.threads)
    events = EventWriter(run.events_fd)
    try:
        from trainer.harness.candidate import load_candidate

        module = load_candidate(path)
        module.train(run)
        for name in (WEIGHTS_FILE, DESCRIPTION_FILE):
            if not (Path(run.out_dir) / name).is_file():
                raise ContractError(f"train(run) returned without writing {name} into out_dir")
    except Exception as error:
        return report_failure(error, events)
    return 0


def report_failure(error: Exception, events: EventWriter) -> int:
    """Says why on stderr and as an event; returns the exit code."""
    reason = classify_failure(error)
    message = f"{type(error).__name__}: {error}"[:2000]
    traceback.print_exc(limit=-12)
    sys.stdout.flush()
    if reason == "NOT_FINITE":
        print("FAIL", flush=True)
    print(f"failure: {reason}: {message.splitlines()[0]}", file=sys.stderr, flush=True)
    events.emit("failure", reason=reason, message=message)
    return 1


def prepare_threads(threads: int) -> None:
    """Sets what OpenMP reads when torch is loaded: spinning threads collapse on a busy machine."""
    environment = os.environ  # noqa: TID251  OpenMP offers no other way
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads > 0:
        environment.setdefault("OMP_NUM_THREADS", str(threads))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
