"""The files that a lab is made from, with a preset written into the hyperparameters."""

from __future__ import annotations

from pathlib import Path

from services.errors import NotFoundError
from trainer.presets import PRESETS, Preset, apply_preset

TEMPLATE_FOLDER = Path(__file__).parent / "template"
TRAIN_PY = TEMPLATE_FOLDER / "train.py"
SUFFIXES = (".py", ".md", ".txt", ".toml")


def known_preset(name: str) -> Preset:
    """Raises NotFoundError (UNKNOWN_PRESET) that lists the known ones."""
    if name not in PRESETS:
        raise NotFoundError(
            f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}",
            reason="UNKNOWN_PRESET",
            metadata={"preset": name},
        )
    return PRESETS[name]


def research_file(preset: Preset) -> str:
    """The text of train.py with the preset's values."""
    return apply_preset(TRAIN_PY.read_text(encoding="utf-8"), preset)


def template_files(preset: Preset) -> dict[str, str]:
    """Name to text: train.py with the preset's values, and the texts beside it."""
    files = {TRAIN_PY.name: research_file(preset)}
    for path in sorted(TEMPLATE_FOLDER.iterdir()):
        wanted = path.suffix in SUFFIXES or path.name == ".gitignore"
        if path.is_file() and wanted and path.name not in (TRAIN_PY.name, "__init__.py"):
            files[path.name] = path.read_text(encoding="utf-8")
    return files
