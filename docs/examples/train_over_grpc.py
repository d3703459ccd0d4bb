# ruff: noqa: T201
"""Trains and scores one train.py on a running trainerd, with nothing but grpcio.

Usage: python docs/examples/train_over_grpc.py HOST:PORT TRAIN_PY [PRESET]
"""

import sys
import uuid

import grpc
from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

if len(sys.argv) < 3:
    sys.exit(str(__doc__))
target, path, preset = [*sys.argv[1:], ""][:3]
trainer = rpc.TrainerServiceStub(grpc.insecure_channel(target))
with open(path, encoding="utf-8") as file:
    source = file.read()
data = pb.PrepareDataRequest(dataset=pb.DatasetRequest(preset=preset))
for progress in trainer.PrepareData(data, timeout=3600):  # does nothing twice
    print("data:", progress.stage)
run = pb.StartExperimentRequest(
    experiment_id=uuid.uuid4().hex,  # ours, so that a retry cannot start it twice
    train_source=source,
    seed=pb.SeedGrant(value=42),
    preset=preset,
    origin=pb.SOURCE_ORIGIN_USER,
)
trainer.StartExperiment(run, timeout=30)
watch = pb.WatchExperimentRequest(experiment_id=run.experiment_id)  # after_sequence resumes a cut stream
for event in trainer.WatchExperiment(watch, timeout=3600):
    if event.HasField("metric"):
        print("step", event.metric.step, "loss", round(event.metric.values["loss"], 4))
answer = trainer.GetExperiment(pb.GetExperimentRequest(experiment_id=run.experiment_id), timeout=10)
result = answer.experiment.result
print(f"val_bpb {result.val_bpb:.6f}" if result.HasField("val_bpb") else result.failure_message)
