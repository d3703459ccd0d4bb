"""Whole tiny runs: exact budgets, determinism, accumulation, failure, and a score that can be recomputed."""

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.template.tiny import load_tiny, run_tiny, tiny_text
from trainer.data.dataset import Dataset
from trainer.evaluation_plain import evaluate_plain
from trainer.harness.device import open_device
from trainer.harness.failures import ContractError, NotFiniteError
from trainer.harness.loader import TokenLoader, open_train_rows
from trainer.harness.process_group import ProcessGroup
from trainer.harness.run_spec import Budget, RunSpec


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_run_learns_and_uses_exactly_its_tokens(tmp_path: Path, dataset: Dataset) -> None:
    figures, out = run_tiny(tmp_path, dataset, steps=30)
    assert figures["tokens"] == 30 * 512
    assert figures["num_steps"] == 30
    assert figures["initial_loss"] == pytest.approx(math.log(512), abs=0.05)
    assert figures["final_loss"] < figures["initial_loss"] - 0.6
    stored = json.loads((out / "checkpoint.json").read_text())
    assert stored["tokens"] == 30 * 512
    assert stored["weights_sha256"] == weights_hash(out)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, dataset: Dataset) -> None:
    first = weights_hash(run_tiny(tmp_path / "a", dataset, seed=2**64 - 3)[1])
    assert weights_hash(run_tiny(tmp_path / "b", dataset, seed=2**64 - 3)[1]) == first
    assert weights_hash(run_tiny(tmp_path / "c", dataset, seed=4)[1]) != first


def test_accumulation_does_not_change_the_result(tmp_path: Path, dataset: Dataset) -> None:
    whole, _ = run_tiny(tmp_path / "a", dataset, DEVICE_BATCH_SIZE=8)
    parts, _ = run_tiny(tmp_path / "b", dataset, DEVICE_BATCH_SIZE=2)
    assert parts["initial_loss"] == pytest.approx(whole["initial_loss"], abs=1e-5)
    assert parts["final_loss"] == pytest.approx(whole["final_loss"], abs=1e-4)


@pytest.mark.parametrize("changes", [{}, {"FUSED_LOSS": False, "WEBER_MODE": "raw", "MERGE_QKV": False}])
def test_nothing_is_compiled_within_the_budget(
    tmp_path: Path, dataset: Dataset, changes: dict[str, object]
) -> None:
    """The warm-up meets every graph that training needs: compiling one later would cost budget."""
    module = load_tiny(tmp_path, DEVICE_BATCH_SIZE=8, **changes)
    rows, device = open_train_rows(dataset.train_folder), open_device("cpu")
    model = module.build_model(module.model_config(rows.vocab_size, rows.context_length, rows.bos))
    model.initialize(1)
    optimizer = module.build_optimizer(model, ProcessGroup())
    model.compile_parts(backend="eager")
    optimizer.compile_parts(backend="eager")
    module.warm_up(model, optimizer, device)
    loader = TokenLoader(rows, 8, 1, device.torch_device)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(module.WEBER_FIRST_STEP + 2):
            module.set_schedule(optimizer, step, step / 20)
            model.loss(*loader.next()).backward()
            optimizer.step()
            optimizer.zero_grad()
    loader.close()


def test_ngram_tables_are_left_out_where_rows_will_return(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """They learn by heart what they meet twice."""
    rows = open_train_rows(dataset.train_folder)
    steps_an_epoch = rows.count * rows.context_length / 512
    module = load_tiny(tmp_path, NGRAM_ORDER=3)
    h200 = replace(open_device("cpu"), peak_flops=989e12)
    for budget, epochs in ((Budget("tokens", 512 * steps_an_epoch / 2), 0.5), (Budget("time", 60.0), None)):
        expected = module.expected_epochs(rows, budget, h200, 1)
        assert epochs is None or expected == pytest.approx(epochs)
        assert module.expected_epochs(rows, budget, open_device("cpu"), 1) == (epochs or 0.0)
        twice = replace(budget, amount=2 * budget.amount)
        assert module.expected_epochs(rows, twice, h200, 1) == pytest.approx(2 * expected)
    for limit, tables in ((1.0, True), (0.5 / steps_an_epoch, False)):
        _, out = run_tiny(tmp_path / str(limit), dataset, 1, NGRAM_ORDER=3, NGRAM_EPOCHS=limit)
        config = json.loads((out / "checkpoint.json").read_text())["config"]
        assert config["ngram_order"] == (3 if tables else 1)
        assert ("no n-gram tables" in capsys.readouterr().out) is not tables


def test_a_kernel_without_windows_sees_everything(tmp_path: Path) -> None:
    module = load_tiny(tmp_path, WINDOWS=False, ATTENTION="flex")
    assert module.layer_windows(64) == [64, 64]
    assert module.attention_backend("auto", 64, open_device("cpu"), ProcessGroup()) == "sdpa"


def test_a_diverging_run_is_stopped_by_name(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(NotFiniteError, match="loss of step"):
        run_tiny(tmp_path, dataset, steps=20, SOFTCAP=0.0, UNEMBEDDING_LR=1e6)
    assert not (tmp_path / "out" / "checkpoint.json").exists()


@pytest.mark.parametrize("total", [256 + 64, 128])
def test_sizes_that_do_not_divide_are_named(tmp_path: Path, dataset: Dataset, total: int) -> None:
    with pytest.raises(ContractError, match="TOTAL_BATCH_SIZE"):
        run_tiny(tmp_path, dataset, TOTAL_BATCH_SIZE=total)


def test_budgets_by_time_and_flops_end(tmp_path: Path, dataset: Dataset) -> None:
    module = load_tiny(tmp_path)
    flops = module.build_model(module.model_config(512, 64, 508)).flops_per_token() * 512 * 3.5
    for budget in (Budget("flops", flops), Budget("time", 0.2)):
        run = RunSpec("e", 1, budget, str(dataset.train_folder), str(tmp_path / budget.kind), device="cpu")
        figures = module.train(run)
        assert figures["num_steps"] == 3 if budget.kind == "flops" else figures["training_seconds"] >= 0.2


def test_the_plain_score_is_the_formula(tmp_path: Path, dataset: Dataset) -> None:
    _, out = run_tiny(tmp_path, dataset, steps=12)
    score = evaluate_plain(tmp_path / "train.py", out, dataset.folder, "cpu")
    from trainer.data.tokenizer import load_tokenizer
    from trainer.harness.serve import load_model

    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    lengths = {rank: len(token) for token, rank in tokenizer.ranks.items()}
    model, _, _ = load_model(tmp_path / "train.py", out, "cpu", 0)
    nats = 0.0
    byte_count = 0
    rows = np.fromfile(dataset.validation_rows, dtype=np.uint16).reshape(-1, 65).astype(np.int64)
    for row in rows:
        with torch.inference_mode():
            log_p = torch.log_softmax(model(torch.from_numpy(row[None, :-1]))[0].double(), dim=-1)
        for position, target in enumerate(row[1:].tolist()):
            if target in lengths:
                nats -= float(log_p[position, target])
                byte_count += lengths[target]
    assert score.val_bpb == pytest.approx(nats / math.log(2) / byte_count, rel=1e-6)
    assert score.tokens == rows.shape[0] * 64


@pytest.mark.long
def test_python_train_py_trains_scores_and_prints_the_summary(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "train.py").write_text(tiny_text())
    command = [
        sys.executable,
        "train.py",
        "--data",
        str(dataset.folder),
        "--token-budget",
        "2048",
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    summary = dict(line.split(":", 1) for line in lines[lines.index("---") + 1 :])
    assert float(summary["val_bpb"]) > 0
    assert summary["num_steps"].strip() == "4"


WORKER = """
import dataclasses, os, sys
from pathlib import Path
from trainer.harness.candidate import load_candidate
from trainer.harness.run_spec import parse_run_spec
folder = Path(sys.argv[1])
events = os.open(folder / f"events-{os.environ['RANK']}", os.O_CREAT | os.O_WRONLY)
run = dataclasses.replace(parse_run_spec((folder / "run.json").read_text()), events_fd=events)
load_candidate(folder / "train.py").train(run)
"""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_two_processes_follow_the_loss_curve_of_one(tmp_path: Path, dataset: Dataset) -> None:
    def curve(name: str, processes: int) -> list[float]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train.py").write_text(tiny_text(NGRAM_ORDER=2, DEPTH=3))
        (folder / "worker.py").write_text(WORKER)
        out = str(folder / "out")
        run = RunSpec("e", 1, Budget("tokens", 20 * 512), str(dataset.train_folder), out, "cpu", threads=1)
        (folder / "run.json").write_text(run.to_json())
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
        ]
        done = subprocess.run(
            [*command, str(folder / "worker.py"), str(folder)],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert (folder / "out" / "model.safetensors").is_file()
        if processes > 1:
            assert (folder / "events-1").read_text() == ""
        events = [json.loads(line) for line in (folder / "events-0").read_text().splitlines()]
        return [event["values"]["loss"] for event in events if event["type"] == "metric"]

    alone, together = curve("one", 1), curve("two", 2)
    assert len(alone) == len(together) == 20
    assert together == pytest.approx(alone, abs=1e-3)
