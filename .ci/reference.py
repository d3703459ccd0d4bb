"""Writes docs/configuration.md from the settings classes and docs/api.md from the protos; --check compares.

Run by `make docs` and `make docs-check`.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from services.settings import DaemonSettings

ROOT = Path(__file__).resolve().parent.parent
DAEMONS = ("entropyd", "memoryd", "trainer", "agent")
TYPE_NAMES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in descriptor_pb2.FieldDescriptorProto.Type.items()
}


def settings_of(daemon: str) -> type[DaemonSettings]:
    module = importlib.import_module(f"{daemon}.settings")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, DaemonSettings)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise SystemExit(
            f"{daemon}/settings.py must define exactly one subclass of DaemonSettings, has {found}"
        )
    return found[0]


def configuration() -> str:
    parts = [
        "# Configuration\n\nGenerated from the settings classes by `make docs`; do not edit.\n\n"
        "Flags win over environment names, these over a TOML file (`--config`), that over the default. "
        "An unknown environment name with a daemon's prefix is refused.\n"
    ]
    for daemon in DAEMONS:
        kind = settings_of(daemon)
        prefix = str(kind.model_config.get("env_prefix", ""))
        parts.append(
            f"\n## {kind.daemon_name}\n\n"
            "| flag | environment | default | meaning |\n| --- | --- | --- | --- |\n"
        )
        for name, field in kind.model_fields.items():
            default = field.default
            if default is PydanticUndefined or default is None or isinstance(default, SecretStr):
                default = ""
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            flag = f"`--{name.replace('_', '-')}`"
            shown = f"`{default}`" if default != "" else ""
            parts.append(f"| {flag} | `{prefix}{name.upper()}` | {shown} | {meaning} |\n")
    return "".join(parts)


def descriptors() -> descriptor_pb2.FileDescriptorSet:
    files = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto", f"--descriptor_set_out={out}"]
        subprocess.run([*command, "--include_source_info", *files], check=True, cwd=ROOT)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def type_of(field: descriptor_pb2.FieldDescriptorProto) -> str:
    name = field.type_name.rsplit(".", 1)[-1] or TYPE_NAMES[field.type]
    if name.endswith("Entry"):
        return "map"
    return f"repeated {name}" if field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED else name


def api() -> str:
    parts = ["# API reference\n\nGenerated from `proto/` by `make docs`; do not edit.\n"]
    for file in descriptors().file:
        comments = {
            tuple(place.path): " ".join((place.leading_comments + " " + place.trailing_comments).split())
            for place in file.source_code_info.location
        }
        for number, service in enumerate(file.service):
            parts.append(f"\n## {file.package}.{service.name}\n\n{comments.get((6, number), '')}\n")
            for index, method in enumerate(service.method):
                answer = ("stream of " if method.server_streaming else "") + method.output_type.rsplit(
                    ".", 1
                )[-1]
                ask = method.input_type.rsplit(".", 1)[-1]
                parts.append(
                    f"\n### {method.name}\n\n`{ask}` → `{answer}`\n\n"
                    f"{comments.get((6, number, 2, index), '')}\n"
                )
        parts.append(f"\n### Messages of {file.package}\n")
        for number, message in enumerate(file.message_type):
            parts.append(f"\n**{message.name}** {comments.get((4, number), '')}\n")
            if message.field:
                parts.append("\n| field | type | meaning |\n| --- | --- | --- |\n")
            for index, field in enumerate(message.field):
                meaning = comments.get((4, number, 2, index), "").replace("|", "\\|")
                parts.append(f"| `{field.name}` | {type_of(field)} | {meaning} |\n")
        for number, enum in enumerate(file.enum_type):
            parts.append(f"\n**{enum.name}** {comments.get((5, number), '')}\n\n")
            for index, value in enumerate(enum.value):
                meaning = comments.get((5, number, 2, index), "")
                parts.append(f"- `{value.name}` = {value.number}{': ' + meaning if meaning else ''}\n")
    return "".join(parts)


def main() -> int:
    stale = []
    for name, text in (("configuration.md", configuration()), ("api.md", api())):
        path = ROOT / "docs" / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(f"docs/{name}")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"error: {', '.join(stale)} out of date; run: make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
