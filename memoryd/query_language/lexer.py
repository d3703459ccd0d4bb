"""SQL text to tokens with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memoryd.query_language.language import QueryError

LONGEST_QUERY_BYTES = 256 * 1024
_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*)"
    r"|(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<string>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)'
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<symbol><>|!=|<=|>=|[-+*/%=<>(),.;\[\]{}:?&|^~@#$!])",
    re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """`kind` is number, string, quoted, word, symbol or end; `text` without quotes; `column` from 1."""

    kind: str
    text: str
    line: int
    column: int

    @property
    def keyword(self) -> str:
        """The upper-case word, "" for anything else."""
        return self.text.upper() if self.kind == "word" else ""

    def is_symbol(self, symbol: str) -> bool:
        return self.kind == "symbol" and self.text == symbol


def read_tokens(sql: str) -> list[Token]:
    """All tokens and one of kind "end". Raises QueryError."""
    if len(sql) > LONGEST_QUERY_BYTES:
        raise QueryError(f"sql parser error: a query of {len(sql)} characters is too long")
    tokens: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(sql):
        column = at - line_start + 1
        if sql.startswith("/*", at):
            end = sql.find("*/", at + 2)
            if end < 0:
                raise QueryError("sql parser error: Unexpected EOF while in a multi-line comment")
            at = end + 2
            continue
        match = _TOKEN.match(sql, at)
        if match is None:
            what = "Unterminated string literal" if sql[at] == "'" else f"Unexpected character {sql[at]!r}"
            raise QueryError(f"sql parser error: {what} at Line: {line}, Column: {column}")
        kind, text = str(match.lastgroup), match.group()
        if kind == "string":
            tokens.append(Token(kind, text[1:-1].replace("''", "'"), line, column))
        elif kind == "quoted":
            tokens.append(Token(kind, text[1:-1].replace('""', '"'), line, column))
        elif kind != "space":
            tokens.append(Token(kind, text, line, column))
        newlines = text.count("\n")
        if newlines:
            line += newlines
            line_start = at + text.rindex("\n") + 1
        at = match.end()
    tokens.append(Token("end", "EOF", line, at - line_start + 1))
    return tokens
