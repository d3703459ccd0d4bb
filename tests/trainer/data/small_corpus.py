"""A small real corpus for tests: modules of the running Python as jsonl, and a data set made from it."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from trainer.data.dataset import Dataset
from trainer.data.file_source import FileCorpus
from trainer.data.prepare import Request, prepare

MODULES = ("argparse", "ast", "asyncio/base_events", "collections/__init__", "csv", "datetime", "difflib",
           "dis", "enum", "fractions", "gettext", "heapq", "inspect", "json/decoder", "mailbox", "optparse",
           "ntpath", "pdb", "pickle", "random", "shutil", "socket", "statistics", "tarfile", "textwrap",
           "threading", "typing", "unittest/case", "urllib/request", "uuid")  # fmt: skip
SMALL = Request(
    vocab_size=512, context_length=64, validation_tokens=2048, packing="split", tokenizer_bytes=400_000
)


def write_corpus(path: Path) -> Path:
    """Writes one jsonl line a module."""
    library = Path(sysconfig.get_path("stdlib"))
    texts = [(library / f"{name}.py").read_text(encoding="utf-8") for name in MODULES]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def make_small_dataset(folder: Path, request: Request = SMALL) -> Dataset:
    """A data set of about 200 k training tokens, made in a second or two."""
    return prepare(FileCorpus(write_corpus(folder / "corpus.jsonl")), request, folder / "data")


def prepare_tiny_preset(folder: Path) -> Path:
    """Makes the data set of the preset `tiny` in a folder of data sets, which is returned."""
    command = [sys.executable, "-m", "trainer.data", "prepare", "--preset", "tiny", "--data", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder
