"""What a comparison says: ratios of every arm to the first, with intervals, as data and as text."""

import math
from typing import Any

from trainer.bench.paired_statistics import Interval, ratio_interval, t_interval

MEASURES = ("val_bpb", "tokens_per_second", "peak_memory_bytes")


def summarize(records: list[dict[str, Any]], labels: list[str]) -> dict[str, Any]:
    """For each arm the means, and against the first arm the paired ratios over seeds both have.

    Arms whose runs had another device than the first are marked incomparable; attention names the backends
    of an arm's runs, which compute the same but not equally fast.
    """
    scored = [record for record in records if record["status"] == "scored"]
    by_arm = {label: {r["seed"]: r for r in scored if r["arm"] == label} for label in labels}
    reference = by_arm[labels[0]]
    arms = []
    for label in labels:
        runs = by_arm[label]
        entry: dict[str, Any] = {"arm": label, "runs": len(runs)}
        for measure in (*MEASURES, "mfu", "dead_seconds", "setup_seconds", "num_steps", "final_loss"):
            values = [float(r[measure]) for r in runs.values() if r.get(measure) is not None]
            entry[measure] = math.fsum(values) / len(values) if values else None
        entry["attention"] = sorted({str(r["attention"]) for r in runs.values()})
        seeds = sorted(set(runs) & set(reference))
        if label != labels[0] and seeds:
            entry["comparable"] = all(runs[s]["device"] == reference[s]["device"] for s in seeds)
            for measure in MEASURES:
                pairs = [(runs[s][measure], reference[s][measure]) for s in seeds]
                if all(a and b for a, b in pairs):
                    entry[f"{measure}_ratio"] = _fields(ratio_interval(*zip(*pairs, strict=True)))
            differences = [runs[s]["val_bpb"] - reference[s]["val_bpb"] for s in seeds]
            entry["val_bpb_difference"] = _fields(t_interval(differences))
        arms.append(entry)
    return {"reference": labels[0], "arms": arms}


def format_report(report: dict[str, Any]) -> str:
    """A table for people."""
    lines = [f"ratios to {report['reference']}, 95 % intervals over paired seeds"]
    for entry in report["arms"]:
        if not entry["runs"]:
            lines.append(f"{entry['arm']:>20}  no scored run")
            continue
        text = f"{entry['arm']:>20}  n={entry['runs']}  val_bpb {entry['val_bpb']:.5f}"
        text += f"  {entry['tokens_per_second']:,.0f} tokens/s  {entry['peak_memory_bytes'] / 2**20:,.0f} MiB"
        if entry["mfu"] is not None:
            text += f"  MFU {entry['mfu']:.1%}"
        text += f"  dead {entry['dead_seconds']:.1f} s  {','.join(entry['attention'])}"
        for measure in ("val_bpb", "tokens_per_second"):
            if ratio := entry.get(f"{measure}_ratio"):
                bounds = "" if ratio["n"] < 2 else f" [{ratio['low']:.4f}, {ratio['high']:.4f}]"
                text += f"  {measure} x{ratio['mean']:.4f}{bounds}"
        if entry.get("comparable") is False:
            text += "  (another device: do not compare)"
        lines.append(text)
    return "\n".join(lines)


def _fields(interval: Interval) -> dict[str, float | int | None]:
    finite = [value if interval.n > 1 else None for value in (interval.low, interval.high)]
    return {"mean": interval.mean, "low": finite[0], "high": finite[1], "n": interval.n}
