"""Preparing a data set: complete or absent, found again, honest about what went wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.data.small_corpus import SMALL, make_small_dataset, write_corpus
from trainer.data.dataset import Dataset, find_dataset, list_datasets, open_dataset
from trainer.data.documents import Document, without_duplicates
from trainer.data.errors import (
    CorpusNotFoundError,
    CorpusTooSmallError,
    CorpusUnreadableError,
    DatasetCorruptError,
    DatasetNotFoundError,
)
from trainer.data.file_source import FileCorpus
from trainer.data.prepare import Request, prepare
from trainer.data.split import draw_validation, shares_elsewhere
from trainer.data.tokenizer import load_tokenizer


def read_rows(path: Path, context_length: int) -> np.ndarray:
    return np.fromfile(path, dtype=np.uint16).reshape(-1, context_length + 1)


def test_rows_begin_with_bos_and_lie_within_the_vocabulary(dataset: Dataset) -> None:
    manifest = dataset.manifest
    train = np.concatenate([read_rows(p, 64) for p in sorted(dataset.train_folder.glob("*.bin"))])
    validation = read_rows(dataset.validation_rows, 64)
    assert len(train) == manifest.train_rows
    assert len(validation) == manifest.validation_rows == 2048 // 64
    for rows in (train, validation):
        assert (rows[:, 0] == manifest.vocab_size - 4).all()
        assert rows.max() < manifest.vocab_size
    dataset.verify()


def test_validation_text_is_never_in_training(dataset: Dataset) -> None:
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    train = np.concatenate([read_rows(p, 64) for p in sorted(dataset.train_folder.glob("*.bin"))])
    seen = {row.tobytes() for row in train}
    whole = [row for row in read_rows(dataset.validation_rows, 64) if (row == tokenizer.bos).sum() == 1]
    assert whole
    assert not any(row.tobytes() in seen for row in whole)


def test_the_same_request_finds_the_data_set_and_another_makes_one(tmp_path: Path) -> None:
    first = make_small_dataset(tmp_path)
    written = (first.folder / "manifest.json").stat().st_mtime_ns
    again = prepare(FileCorpus(tmp_path / "corpus.jsonl"), SMALL, tmp_path / "data")
    assert (again.folder / "manifest.json").stat().st_mtime_ns == written
    other = Request(vocab_size=512, context_length=32, validation_tokens=1024, packing="split")
    assert prepare(FileCorpus(tmp_path / "corpus.jsonl"), other, tmp_path / "data").folder != first.folder
    assert len(list_datasets(tmp_path / "data")) == 2


@pytest.mark.parametrize("name", ["train/rows_00000.bin", "validation/rows.bin"])
def test_a_data_set_whose_rows_are_gone_is_made_again(tmp_path: Path, name: str) -> None:
    made = make_small_dataset(tmp_path)
    (made.folder / name).unlink()
    with pytest.raises(DatasetCorruptError, match=f"{name} is missing; prepare the data again"):
        open_dataset(made.folder)
    assert list_datasets(tmp_path / "data") == []
    again = prepare(FileCorpus(tmp_path / "corpus.jsonl"), SMALL, tmp_path / "data")
    again.verify()
    assert again.manifest.data_hash == made.manifest.data_hash


def test_the_same_corpus_gives_the_same_bytes_anywhere(tmp_path: Path, dataset: Dataset) -> None:
    copy = make_small_dataset(tmp_path)
    assert copy.manifest.data_hash == dataset.manifest.data_hash
    assert find_dataset(tmp_path / "data", dataset.manifest.data_hash).folder == copy.folder


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    copy = make_small_dataset(tmp_path)
    with copy.validation_rows.open("r+b") as stream:
        stream.write(b"\0\0")
    with pytest.raises(DatasetCorruptError, match=r"rows\.bin was changed"):
        copy.verify()


def test_a_missing_data_set_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="prepare"):
        open_dataset(tmp_path / "nothing")
    with pytest.raises(DatasetNotFoundError, match="at hand: none"):
        find_dataset(tmp_path, "0" * 64)


def test_a_small_corpus_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a short text, too short for anything. " * 3)
    with pytest.raises(CorpusTooSmallError):
        prepare(FileCorpus(tmp_path / "a.txt"), SMALL, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_an_empty_folder_and_a_bad_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusNotFoundError, match="has no"):
        prepare(FileCorpus(tmp_path), SMALL, tmp_path / "data")
    (tmp_path / "b.jsonl").write_text('{"text": "fine"}\n{"words": 1}\n')
    with pytest.raises(CorpusUnreadableError, match=r"b\.jsonl:2"):
        prepare(FileCorpus(tmp_path / "b.jsonl"), SMALL, tmp_path / "data")


def test_parquet_and_text_are_read_like_jsonl(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    texts = ["one", "two"]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    (tmp_path / "c.txt").write_text("three")
    assert [d.text for d in FileCorpus(tmp_path).documents()] == ["one", "two", "one", "two", "three"]
    assert len(list(without_duplicates(FileCorpus(tmp_path).documents()))) == 3


def test_the_draw_depends_on_texts_only_and_takes_only_eligible_ones() -> None:
    documents = [Document(f"text {i} " * 20, may_validate=i % 2 == 0) for i in range(60)]
    drawn = draw_validation(lambda: documents, 1500)
    assert drawn == draw_validation(lambda: reversed(documents), 1500)
    assert drawn <= {d.content_hash for d in documents if d.may_validate}
    assert 1500 <= sum(len(d.text) for d in documents if d.content_hash in drawn) <= 1700


def test_a_text_of_which_others_have_much_is_not_drawn() -> None:
    def lines(*numbers: int) -> str:
        return "".join(f"  line {number}\n{{\n" for number in numbers)

    alone = [Document(lines(*range(100 * i, 100 * i + 40))) for i in range(1, 21)]
    copies = [Document(lines(*range(30), *range(10**5 * i, 10**5 * i + 10))) for i in range(5, 15)]
    licence = [Document(lines(1, 2, 3, 4, *range(9000 + 50 * i, 9040 + 50 * i))) for i in range(10)]
    documents = [*copies, *alone, *licence]
    shares = shares_elsewhere([d.content_hash for d in documents], lambda: documents)
    assert max(shares[d.content_hash] for d in alone) == 0.0
    assert min(shares[d.content_hash] for d in copies) > 0.7
    assert 0.0 < max(shares[d.content_hash] for d in licence) < 0.05
    everything = sum(len(d.text) for d in documents)
    drawn = draw_validation(lambda: documents, everything, most=1.0)
    assert drawn == {d.content_hash for d in (*alone, *licence)}
    assert len(draw_validation(lambda: documents, 1, most=1.0)) == 1
    assert draw_validation(lambda: copies, everything) == frozenset()


def test_a_killed_preparation_leaves_no_data_set_and_the_next_one_works(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl")
    command = [sys.executable, "-m", "trainer.data", "prepare", "--source", f"files:{corpus}"]
    command += ["--data", str(tmp_path / "data"), "--vocab-size", "512", "--context", "64"]
    command += ["--validation-tokens", "2048", "--packing", "split"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if "tokenizer" in line:
            break
    child.kill()
    child.wait()
    child.stderr.close()
    assert list_datasets(tmp_path / "data") == []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "training and" in done.stdout
    assert [p.name for p in (tmp_path / "data").iterdir() if p.name.startswith(".partial")] == []
    assert len(list_datasets(tmp_path / "data")) == 1


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="needs to mount a small tmpfs")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        command = [
            sys.executable,
            "-m",
            "trainer.data",
            "prepare",
            "--source",
            f"files:{corpus}",
            "--preset",
            "cpu",
        ]
        done = subprocess.run(
            [*command, "--data", str(small), "--vocab-size", "512"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "no space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(small.iterdir()) == []
    finally:
        for _ in range(10):
            if subprocess.run(["umount", str(small)], check=False).returncode == 0:
                break
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--source", "moon"], "--source must be"),
        (["--vocab-size", "99999"], "vocab_size must be"),
        (["--source", "climbmix", "--num-shards", "0"], "num_shards must be"),
    ],
)
def test_a_wrong_flag_value_is_named(tmp_path: Path, flags: list[str], words: str) -> None:
    command = [sys.executable, "-m", "trainer.data", "prepare", "--data", str(tmp_path), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
