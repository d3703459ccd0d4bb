"""WHERE conditions of the recall language, by recursive descent."""

from __future__ import annotations

import math

from memoryd.query_language.language import RECORD_COLUMNS, REF_NUMBERS, REF_TEXTS, QueryError
from memoryd.query_language.lexer import Token, read_tokens
from memoryd.query_language.tree import (
    And,
    BothTags,
    Compare,
    Condition,
    Embed,
    Like,
    Nearest,
    Not,
    OneOf,
    Or,
)

DEEPEST_NESTING = 64
_COMPARISONS = frozenset({"=", "!=", "<>", "<", ">", "<=", ">="})
_FIELD_PREDICATE = "expected `field = value` predicate"
_NO_LITERAL = "expected literal expression"


class ConditionParser:
    """A cursor over tokens that knows conditions. `_StatementParser` adds statements."""

    def __init__(self, sql: str) -> None:
        self._sql_tokens = read_tokens(sql)
        self._at = 0
        self._depth = 0

    def peek(self, ahead: int = 0) -> Token:
        return self._sql_tokens[min(self._at + ahead, len(self._sql_tokens) - 1)]

    def take(self) -> Token:
        token = self.peek()
        if token.kind != "end":
            self._at += 1
        return token

    def unexpected(self, expected: str) -> QueryError:
        token = self.peek()
        return QueryError(
            f"sql parser error: Expected: {expected}, found: {token.text} at Line: {token.line}, "
            f"Column: {token.column}"
        )

    def expect_symbol(self, symbol: str) -> None:
        if not self.peek().is_symbol(symbol):
            raise self.unexpected(symbol)
        self.take()

    def expect_word(self, word: str) -> None:
        if self.peek().keyword != word:
            raise self.unexpected(word)
        self.take()

    def enter(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST_NESTING:
            raise QueryError("sql parser error: recursion limit exceeded")

    def leave(self) -> None:
        self._depth -= 1

    def condition(self) -> Condition:
        parts = [self._all_of()]
        while self.peek().keyword == "OR":
            self.take()
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def column_name(self) -> str:
        """The last part of a dotted name, lower-cased."""
        token = self.peek()
        if token.kind not in ("word", "quoted"):
            raise self.unexpected("an expression")
        self.take()
        while self.peek().is_symbol("."):
            self.take()
            token = self.take()
        return token.text.lower()

    def _all_of(self) -> Condition:
        parts = [self._negation()]
        while self.peek().keyword == "AND":
            self.take()
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negation(self) -> Condition:
        negated = False
        while self.peek().keyword == "NOT":
            self.take()
            negated = not negated
        inner = self._predicate()
        return Not(inner) if negated else inner

    def _predicate(self) -> Condition:
        if self.peek().is_symbol("("):
            self.enter()
            self.take()
            inner = self.condition()
            self.expect_symbol(")")
            self.leave()
            return inner
        start = self._at
        if self._is_literal(self.peek()):
            return self._reversed_equality(start)
        if self.peek().kind not in ("word", "quoted"):
            raise self.unexpected("an expression")
        if self.peek().kind == "word" and self.peek(1).is_symbol("("):
            return self._call(start)
        return self._column_predicate(self.column_name(), False, start)

    def _reversed_equality(self, start: int) -> Condition:
        value = self._literal()
        if not self.peek().is_symbol("="):
            raise self._unsupported(start)
        self.take()
        column = self.column_name() if self.peek().kind in ("word", "quoted") else None
        if column is None or self.peek().is_symbol("(") or column in RECORD_COLUMNS:
            raise QueryError(_FIELD_PREDICATE)
        return Compare(column, "=", value)

    def _column_predicate(self, column: str, is_tag: bool, start: int) -> Condition:
        token = self.peek()
        if token.kind == "symbol" and token.text in _COMPARISONS:
            operator = "!=" if self.take().text == "<>" else token.text
            value = self._literal()
            if operator != "=" and not _allows(column, operator, is_tag):
                raise self._unsupported(start)
            return Compare(column, operator, value, is_tag)
        negated = token.keyword == "NOT"
        if negated:
            self.take()
        result: Condition
        match self.peek().keyword:
            case "IN":
                self.take()
                self.expect_symbol("(")
                values = [self._literal()]
                while self.peek().is_symbol(","):
                    self.take()
                    values.append(self._literal())
                self.expect_symbol(")")
                result = OneOf(column, tuple(values), is_tag)
            case "LIKE":
                self.take()
                result = Like(column, self._literal(), is_tag)
            case "BETWEEN":
                self.take()
                low = self._literal()
                self.expect_word("AND")
                high = self._literal()
                if not _allows(column, "<=", is_tag):
                    raise self._unsupported(start)
                result = And((Compare(column, ">=", low, is_tag), Compare(column, "<=", high, is_tag)))
            case _:
                raise self._unsupported(start)
        return Not(result) if negated else result

    def _call(self, start: int) -> Condition:
        name = self.take().text.lower()
        self.take()
        if name == "tag":
            field = self._literal()
            self.expect_symbol(")")
            if self.peek().kind == "symbol" and self.peek().text not in _COMPARISONS:
                raise QueryError(_FIELD_PREDICATE)
            return self._column_predicate(field, True, start)
        if name in ("vector_topk_cosine", "vector_topk_l2"):
            vector = self._vector()
            self.expect_symbol(",")
            count = _whole(self._literal())
            self.expect_symbol(")")
            return Nearest(name.removeprefix("vector_topk_"), vector, count)
        if name == "tag_jaccard":
            texts = [self._literal()]
            while self.peek().is_symbol(","):
                self.take()
                texts.append(self._literal())
            self.expect_symbol(")")
            if len(texts) != 4:
                raise QueryError("tag_jaccard expects 4 arguments")
            return BothTags((texts[0].lower(), texts[1]), (texts[2].lower(), texts[3]))
        depth = 1
        while depth and self.peek().kind != "end":
            token = self.take()
            depth += token.is_symbol("(") - token.is_symbol(")")
        if self.peek().kind == "symbol" and self.peek().text in _COMPARISONS:
            raise QueryError(_FIELD_PREDICATE)
        raise QueryError(f"unknown vector function `{name}`")

    def _vector(self) -> tuple[float, ...] | Embed:
        if self.peek().keyword == "EMBED" and self.peek(1).is_symbol("("):
            self.take()
            self.take()
            text = self._literal()
            self.expect_symbol(")")
            return Embed(text)
        return _numbers(self._literal())

    def _is_literal(self, token: Token) -> bool:
        sign = token.kind == "symbol" and token.text in "-+" and self.peek(1).kind == "number"
        return token.kind in ("string", "number") or sign or token.keyword in ("TRUE", "FALSE", "NULL")

    def _literal(self) -> str:
        if not self._is_literal(self.peek()):
            if self.peek().kind == "end":
                raise self.unexpected("an expression")
            raise QueryError(_NO_LITERAL)
        token = self.take()
        if token.kind == "symbol":
            return ("-" if token.text == "-" else "") + self.take().text
        return token.text.lower() if token.kind == "word" else token.text

    def _unsupported(self, start: int) -> QueryError:
        shown = " ".join(
            f"'{token.text}'" if token.kind == "string" else token.text
            for token in self._sql_tokens[start : start + 12]
            if token.kind != "end"
        )
        return QueryError(f"unsupported WHERE expression in scaffold: {shown[:200]}")


def _allows(column: str, operator: str, is_tag: bool) -> bool:
    """Whether a column can be compared by an operator other than =."""
    if is_tag:
        return operator == "!="
    if column == "keystone" or column in REF_TEXTS:
        return operator == "!="
    return column in RECORD_COLUMNS or column in REF_NUMBERS or column == "id"


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise QueryError(f"expected a whole number for k, got {text[:40]!r}")
    return int(text)


def _numbers(text: str) -> tuple[float, ...]:
    parts = [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError as error:
        raise QueryError(f"invalid vector literal: {text[:60]!r}") from error
    if not all(math.isfinite(number) and abs(number) < 3.4e38 for number in numbers):
        raise QueryError("invalid vector literal: every number must be finite")
    return numbers
