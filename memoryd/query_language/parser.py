"""SQL statements of the recall language: SELECT … FROM docs [WHERE …], combined by set operators."""

from __future__ import annotations

from memoryd.query_language.conditions import ConditionParser
from memoryd.query_language.language import QueryError
from memoryd.query_language.tree import Body, Combined, Condition, Query, Select

_OTHER_STATEMENTS = """
    INSERT UPDATE DELETE CREATE DROP ALTER TRUNCATE EXPLAIN ANALYZE SHOW SET USE BEGIN START COMMIT ROLLBACK
    SAVEPOINT GRANT REVOKE MERGE COPY CALL DECLARE FETCH CLOSE EXECUTE PREPARE DEALLOCATE DESCRIBE PRAGMA
    ATTACH DETACH VACUUM REPLACE KILL CACHE UNCACHE MSCK ASSERT RENAME COMMENT LISTEN NOTIFY LOAD
"""
_CLAUSE_ENDS = frozenset(
    {"UNION", "INTERSECT", "EXCEPT", "MINUS", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR"}
)
_JOIN_WORDS = frozenset({"JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "OUTER"})


def parse(sql: str) -> Query:
    """The query that `sql` asks. Raises QueryError with ferricula's message."""
    return _StatementParser(sql).statement()


class _StatementParser(ConditionParser):
    def statement(self) -> Query:
        while self.peek().is_symbol(";"):
            self.take()
        if self.peek().kind == "end":
            raise QueryError("expected exactly one SQL statement")
        first = self.peek()
        if first.keyword and first.keyword in _OTHER_STATEMENTS.split():
            raise QueryError("only SELECT/QUERY statements are supported")
        if first.keyword not in ("SELECT", "WITH") and not first.is_symbol("("):
            raise self.unexpected("an SQL statement")
        query = self._query()
        while self.peek().is_symbol(";"):
            self.take()
            if self.peek().kind != "end":
                raise QueryError("expected exactly one SQL statement")
        if self.peek().kind != "end":
            raise self.unexpected("end of statement")
        return query

    def _query(self) -> Query:
        if self.peek().keyword == "WITH":
            self._skip_with()
        body = self._body()
        order: list[tuple[str, bool]] = []
        limit, offset = None, 0
        while self.peek().keyword in ("ORDER", "LIMIT", "OFFSET"):
            match self.take().keyword:
                case "ORDER":
                    self.expect_word("BY")
                    order.append(self._order_item())
                    while self.peek().is_symbol(","):
                        self.take()
                        order.append(self._order_item())
                case "LIMIT":
                    if self.peek().keyword == "ALL":
                        self.take()
                    else:
                        limit = self._whole_number()
                case _:
                    offset = self._whole_number()
        return Query(body, tuple(order), limit, offset)

    def _body(self, tightness: int = 0) -> Body:
        """INTERSECT binds tighter than UNION and EXCEPT; equal ones group from the left."""
        left = self._operand()
        while True:
            word = self.peek().keyword
            tight = {"UNION": 1, "EXCEPT": 1, "MINUS": 1, "INTERSECT": 2}.get(word, 0)
            if tight <= tightness:
                return left
            self.take()
            if self.peek().keyword in ("ALL", "DISTINCT"):
                self.take()
            left = Combined("EXCEPT" if word == "MINUS" else word, left, self._body(tight))

    def _operand(self) -> Body:
        if self.peek().is_symbol("("):
            self.enter()
            self.take()
            inner = self._query()
            self.expect_symbol(")")
            self.leave()
            return inner.body
        if self.peek().keyword != "SELECT":
            raise self.unexpected("SELECT or a subquery in the query body")
        self.take()
        self._skip_until({"FROM", "WHERE", *_CLAUSE_ENDS})
        if self.peek().keyword != "FROM":
            raise QueryError("only table `docs` is supported in scaffold")
        self.take()
        self._table()
        condition: Condition | None = None
        if self.peek().keyword == "WHERE":
            self.take()
            condition = self.condition()
        if self.peek().keyword in ("GROUP", "HAVING"):
            self._skip_until(_CLAUSE_ENDS)
        return Select(condition)

    def _table(self) -> None:
        token = self.take()
        plain = token.kind in ("word", "quoted") and token.text.lower() == "docs"
        following = self.peek()
        joined = following.keyword in _JOIN_WORDS
        ends = following.kind == "end" or following.is_symbol(";") or following.is_symbol(")")
        clause = following.keyword in {"WHERE", "GROUP", "HAVING", *_CLAUSE_ENDS}
        if token.kind == "end":
            raise self.unexpected("identifier")
        if not plain or not (joined or ends or clause):
            raise QueryError("only table `docs` is supported in scaffold")
        if joined:
            self._skip_until({"WHERE", "GROUP", "HAVING", *_CLAUSE_ENDS})

    def _skip_with(self) -> None:
        """Common table expressions have no effect: FROM can only name docs."""
        self.take()
        while True:
            self.take()
            self.expect_word("AS")
            self.expect_symbol("(")
            self._skip_until(frozenset())
            self.expect_symbol(")")
            if not self.peek().is_symbol(","):
                return
            self.take()

    def _skip_until(self, words: frozenset[str] | set[str]) -> None:
        """Passes over tokens to one of the words, or an unmatched closing bracket, or the end."""
        depth = 0
        while self.peek().kind != "end":
            token = self.peek()
            if depth == 0 and (token.keyword in words or token.is_symbol(")") or token.is_symbol(";")):
                return
            depth += token.is_symbol("(") - token.is_symbol(")")
            self.take()

    def _order_item(self) -> tuple[str, bool]:
        column = self.column_name()
        descending = False
        if self.peek().keyword in ("ASC", "DESC"):
            descending = self.take().keyword == "DESC"
        if self.peek().keyword == "NULLS":
            self.take()
            self.take()
        return column, descending

    def _whole_number(self) -> int:
        token = self.peek()
        if token.kind != "number" or not token.text.isdecimal():
            raise self.unexpected("a whole number")
        self.take()
        return min(int(token.text[:20]), 2**62)
