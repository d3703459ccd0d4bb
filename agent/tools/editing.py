"""Tools that change the draft: set_hyperparams, edit_code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from agent.search.hyperparameters import changed_values, set_values
from agent.search.sections import check_source, replace_section
from agent.tools.bench import Bench
from services.errors import InvalidArgumentError


async def set_hyperparams(
    bench: Bench,
    changes: Annotated[
        dict[str, Any],
        Field(
            description='New values by name, for example {"MATRIX_LR": 0.03, "TOTAL_BATCH_SIZE": "2**17"}.'
        ),
    ],
) -> Mapping[str, object]:
    """Change hyperparameters of the draft. Only the hyperparameter block is touched; numbers may be given
    as arithmetic such as "2**17"."""
    if not changes:
        raise InvalidArgumentError("changes: name at least one hyperparameter", field="changes")
    edited = set_values(bench.draft(), changes)
    bench.replace_draft(edited)
    return {"changed_in_draft": changed_values(bench.incumbent(), edited)}


async def edit_code(
    bench: Bench,
    section: Annotated[str, Field(description="Name of the section to replace, as get_config lists them.")],
    code: Annotated[str, Field(description="The new text of the whole section, without its marker line.")],
) -> Mapping[str, object]:
    """Replace a whole section of the draft of train.py (model, optimizer, training loop, …). The file is
    checked as a whole; if it does not compile, nothing changes."""
    edited = replace_section(bench.draft(), section, code)
    check_source(edited)
    before = bench.draft()
    bench.replace_draft(edited)
    return {
        "section": section,
        "lines_before": len(before.splitlines()),
        "lines_after": len(edited.splitlines()),
        "changed": edited != before,
    }
