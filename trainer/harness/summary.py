"""The lines at the end of a run that people and the ancestors' scripts read."""

from collections.abc import Mapping

NAMES = (
    "val_bpb", "training_seconds", "total_seconds", "peak_vram_mb", "mfu_percent", "total_tokens_M",
    "num_steps", "num_params_M", "depth",
)  # fmt: skip
FORMATS = {"val_bpb": ".6f", "mfu_percent": ".2f"}


def format_summary(values: Mapping[str, float | int | None]) -> str:
    """`---` and one `name:` padded to column 18 with its value a line; None is printed as n/a."""
    lines = ["---"]
    for name in NAMES:
        value = values.get(name)
        if value is None:
            text = "n/a"
        elif isinstance(value, int):
            text = str(value)
        else:
            text = format(value, FORMATS.get(name, ".1f"))
        lines.append(f"{name + ':':<18}{text}")
    return "\n".join(lines)
