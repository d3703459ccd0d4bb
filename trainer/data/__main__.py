"""`python -m trainer.data prepare`: makes a data set; prints progress to stderr, the result to stdout."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from services.errors import ConfigurationError
from trainer.data.dataset import Dataset
from trainer.data.documents import Corpus
from trainer.data.errors import DataError
from trainer.data.prepare import Request, prepare
from trainer.flags import FlagParser
from trainer.presets import PRESETS


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the data could not be made, 2 a wrong flag."""
    started = time.monotonic()
    try:
        options = _parser().parse_args(arguments)
        request = _request(options)
        corpus = open_corpus(options)
        dataset = prepare(corpus, request, options.data, _show)
    except (ConfigurationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        if options.json:
            print(json.dumps({"reason": error.reason, "message": error.message}))  # noqa: T201
        return 1
    except OSError as error:
        place = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: cannot use {place}; choose another --data or --source", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half made is left, run again to go on", file=sys.stderr)  # noqa: T201
        return 130
    _report(dataset, time.monotonic() - started, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = FlagParser(prog="python -m trainer.data", description="Prepares training data.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("prepare", help="make a data set, or find the one already made")
    make.add_argument(
        "--source", default="python", help="python, climbmix or files:PATH (txt, jsonl, parquet)"
    )
    make.add_argument("--data", type=Path, default=Path("data"), help="folder that holds data sets")
    make.add_argument("--preset", choices=sorted(PRESETS), help="take sizes from this preset")
    make.add_argument("--vocab-size", type=int, help="tokenizer entries, specials included")
    make.add_argument("--context", type=int, help="tokens a row predicts")
    make.add_argument("--validation-tokens", type=int, help="upper bound")
    make.add_argument("--packing", choices=["crop", "split"], help="what happens to long documents")
    make.add_argument("--max-bytes", type=int, help="limit of the python source; 0 is no limit")
    make.add_argument("--num-shards", type=int, default=10, help="climbmix: training shards to download")
    make.add_argument("--download-workers", type=int, default=4, help="climbmix: parallel downloads")
    make.add_argument("--base-url", help="climbmix: another place to download from")
    make.add_argument("--threads", type=int, default=2, help="threads that tokenize")
    make.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _request(options: argparse.Namespace) -> Request:
    preset = PRESETS[options.preset or "h100"]
    asked: dict[str, object] = {
        "vocab_size": options.vocab_size,
        "context_length": options.context,
        "validation_tokens": options.validation_tokens,
        "packing": options.packing,
    }
    defaults = {name: getattr(preset, name) for name in asked}
    return Request(threads=options.threads, **{n: defaults[n] if v is None else v for n, v in asked.items()})  # type: ignore[arg-type]


def open_corpus(options: argparse.Namespace) -> Corpus:
    """The corpus that --source names. Raises ValueError for an unknown one."""
    source: str = options.source
    if source == "python":
        from trainer.data.python_source import PythonCorpus

        preset = PRESETS[options.preset or "h100"]
        return PythonCorpus(preset.max_bytes if options.max_bytes is None else options.max_bytes)
    if source == "climbmix":
        from trainer.data.climbmix import BASE_URL, ClimbmixCorpus

        return ClimbmixCorpus(
            cache=options.data / ".downloads" / "climbmix",
            num_shards=options.num_shards,
            workers=options.download_workers,
            base_url=options.base_url or BASE_URL,
            progress=_show_download,
        )
    if source.startswith("files:") and len(source) > len("files:"):
        from trainer.data.file_source import FileCorpus

        return FileCorpus(Path(source.removeprefix("files:")))
    raise ValueError(f"--source must be python, climbmix or files:PATH, not {source!r}")


def _show(stage: str, fraction: float) -> None:
    print(f"prepare: {stage} {fraction:.0%}", file=sys.stderr)  # noqa: T201


def _show_download(name: str, done: int, total: int) -> None:
    if done == total or done % (16 << 20) < (1 << 20):
        print(f"download: {name} {done / 2**20:.0f} of {total / 2**20:.0f} MiB", file=sys.stderr)  # noqa: T201


def _report(dataset: Dataset, seconds: float, as_json: bool) -> None:
    manifest = dataset.manifest
    if as_json:
        fields = asdict(manifest)
        fields.pop("files")
        fields["origin_files"] = len(manifest.origin_files)
        print(json.dumps({"folder": str(dataset.folder), "seconds": round(seconds, 2), **fields}))  # noqa: T201
        return
    print(  # noqa: T201
        f"{dataset.folder}: {manifest.train_tokens:,} training and {manifest.validation_tokens:,} validation"
        f" tokens, vocabulary {manifest.vocab_size:,}, context {manifest.context_length:,},"
        f" data_hash {manifest.data_hash[:12]} ({seconds:.1f} s)"
    )


if __name__ == "__main__":
    raise SystemExit(main())
