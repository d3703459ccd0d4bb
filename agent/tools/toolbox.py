"""The ten tools with their schemas, made from the functions' signatures, and how one is called."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel as Arguments
from pydantic import ConfigDict, ValidationError, create_model

from agent.provider import ToolSpec
from agent.tools.answer import ToolAnswer, answer, failure
from agent.tools.bench import Bench
from agent.tools.editing import edit_code, set_hyperparams
from agent.tools.reading import get_config, get_history, read_code
from agent.tools.remembering import recall, remember
from agent.tools.running import discard, keep, run_experiment
from services import tracing
from services.errors import InvalidArgumentError, NotFoundError, ServiceError

Function = Callable[..., Awaitable[Mapping[str, object]]]


@dataclass(frozen=True)
class Tool:
    """One tool; `changes` says whether it does more than look."""

    name: str
    description: str
    function: Function
    changes: bool
    arguments: type[Arguments] = field(repr=False)

    @property
    def schema(self) -> dict[str, object]:
        """JSON schema of its arguments."""
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        for part in schema.get("properties", {}).values():
            part.pop("title", None)
        return schema


def make_tool(function: Function, *, changes: bool) -> Tool:
    """A tool from an async function whose first parameter is the bench."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    name = function.__name__
    model = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return Tool(name, " ".join((function.__doc__ or "").split()), function, changes, model)


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        make_tool(get_config, changes=False),
        make_tool(set_hyperparams, changes=True),
        make_tool(edit_code, changes=True),
        make_tool(run_experiment, changes=True),
        make_tool(get_history, changes=False),
        make_tool(keep, changes=True),
        make_tool(discard, changes=True),
        make_tool(read_code, changes=False),
        make_tool(remember, changes=False),
        make_tool(recall, changes=False),
    )
}
TOOL_SPECS = tuple(ToolSpec(tool.name, tool.description, tool.schema) for tool in TOOLS.values())


def find_tool(name: str) -> Tool:
    """Raises NotFoundError (TOOL_NOT_FOUND) that lists the known ones."""
    if name not in TOOLS:
        raise NotFoundError(
            f"there is no tool {name!r}; there are {', '.join(TOOLS)}", reason="TOOL_NOT_FOUND"
        )
    return TOOLS[name]


def read_arguments(tool: Tool, arguments: Mapping[str, object]) -> dict[str, Any]:
    """Checked arguments. Raises InvalidArgumentError (INVALID_ARGUMENTS) that names each wrong one."""
    try:
        checked = tool.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or tool.name}: {problem['msg']}"
            for problem in error.errors()
        )
        first = error.errors()[0]["loc"]
        raise InvalidArgumentError(
            f"{tool.name}: {problems}",
            field=str(first[0]) if first else tool.name,
            reason="INVALID_ARGUMENTS",
        ) from error
    return {name: getattr(checked, name) for name in tool.arguments.model_fields}


async def call_tool(bench: Bench, tool: Tool, arguments: Mapping[str, Any]) -> ToolAnswer:
    """Runs a tool with checked arguments. What the tool raises of our errors is its answer."""
    try:
        with tracing.span(f"tool {tool.name}"):
            return answer(await tool.function(bench, **arguments))
    except ServiceError as error:
        return failure(error.reason, error.message)


def parse_arguments(text: str) -> Mapping[str, object]:
    """A JSON object from text. Raises InvalidArgumentError (INVALID_ARGUMENTS)."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        raise InvalidArgumentError(
            f"arguments_json: not JSON: {error}", field="arguments_json", reason="INVALID_ARGUMENTS"
        ) from error
    if not isinstance(arguments, dict):
        raise InvalidArgumentError(
            "arguments_json: must be a JSON object", field="arguments_json", reason="INVALID_ARGUMENTS"
        )
    return arguments
