"""The recall language: plans, messages, answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryd.memory import Emotion, Record, State
from memoryd.query_language.evaluate import Selection, asks_for_state, evaluate
from memoryd.query_language.language import QueryError, arrange_rows, freeform_plan, plan
from memoryd.query_language.parser import parse
from memoryd.query_language.tree import embedded_texts
from memoryd.retrieval.vector_index import VectorIndex

NOW = 1_000_000
WORDS = """
    SELECT id FROM docs WHERE ( ) = 'x' 1 AND OR NOT IN LIKE , ; UNION ORDER BY LIMIT - * . tag
    vector_topk_cosine embed keystone page BETWEEN GROUP WITH AS " ' é
"""


class Store:
    """A view of five memories."""

    now = NOW

    def __init__(self) -> None:
        base = Record(created_at=NOW - 100, last_recalled=NOW - 50)
        self._rows: dict[int, tuple[dict[str, str], Record | None]] = {
            1: ({"channel": "hearing", "text": "weber", "page": "3"}, base),
            2: ({"channel": "hearing", "text": "it's", "lr": "0.04"}, Record(NOW - 10, NOW, fidelity=0.7)),
            3: (
                {"channel": "thinking", "book": "Gita", "page": "12"},
                Record(NOW, NOW, state=State.FORGIVEN, recall_count=4, emotion=Emotion("joy")),
            ),
            4: ({"channel": "thinking"}, Record(NOW, NOW, keystone=True, importance=0.3)),
            5: ({"channel": "seeing"}, None),
        }
        self._index = VectorIndex()
        for memory_id, vector in {1: [1, 0], 2: [1, 1], 3: [0, 1], 4: [-1, 0]}.items():
            self._index.add(memory_id, vector)

    def ids(self) -> Iterable[int]:
        return self._rows

    def tags(self, memory_id: int) -> Mapping[str, str]:
        return self._rows[memory_id][0]

    def record(self, memory_id: int) -> Record | None:
        return self._rows[memory_id][1]

    def nearest(self, metric: str, vector: Sequence[float], count: int) -> Sequence[tuple[int, float]]:
        find = self._index.nearest_cosine if metric == "cosine" else self._index.nearest_l2
        return find(vector, count)


def select(where: str, vectors: Mapping[str, Sequence[float]] | None = None) -> Selection:
    return evaluate(parse(f"SELECT id FROM docs WHERE {where}"), Store(), vectors or {})


@pytest.mark.parametrize(
    ("query", "sql"),
    [
        (" select id FROM docs ", "select id FROM docs"),
        ("[1,0,0]", "SELECT id FROM docs WHERE vector_topk_cosine('[1,0,0]', 10)"),
        ("vector_topk_l2('1', 2)", "SELECT id FROM docs WHERE vector_topk_l2('1', 2)"),
        ("channel = 'hearing'", "SELECT id FROM docs WHERE channel = 'hearing'"),
        ("channel='hearing'", "SELECT id FROM docs WHERE channel='hearing'"),
        ("it's on", "SELECT id FROM docs WHERE vector_topk_cosine(embed('it''s on'), 10)"),
    ],
)
def test_queries_are_planned_by_the_rules(query: str, sql: str) -> None:
    assert plan(query).sql == sql


def test_only_free_text_is_freeform() -> None:
    assert plan("weber force").freeform == "weber force"
    assert plan("channel = 'x'").freeform is None
    assert freeform_plan("lr = 0.04", 5).sql.endswith("embed('lr = 0.04'), 5)")


def test_an_empty_query_fails_as_sql() -> None:
    with pytest.raises(QueryError) as caught:
        parse(plan("  ").sql)
    assert (
        caught.value.message
        == "sql parser error: Expected: an SQL statement, found: error at Line: 1, Column: 1"
    )
    assert caught.value.reason == "INVALID_QUERY"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id FROM other", "only table `docs` is supported in scaffold"),
        ("SELECT id FROM docs d", "only table `docs` is supported in scaffold"),
        ("SELECT id FROM docs, docs", "only table `docs` is supported in scaffold"),
        ("SELECT 1", "only table `docs` is supported in scaffold"),
        ("SELECT id FROM docs; SELECT id FROM docs", "expected exactly one SQL statement"),
        (";", "expected exactly one SQL statement"),
        ("DELETE FROM docs", "only SELECT/QUERY statements are supported"),
        ("SELECT id FROM docs WHERE upper('x') = 'x'", "expected `field = value` predicate"),
        ("SELECT id FROM docs WHERE nearest('x')", "unknown vector function `nearest`"),
        ('SELECT id FROM docs WHERE channel = "x"', "expected literal expression"),
        ("SELECT id FROM docs WHERE channel IS NULL", "unsupported WHERE expression in scaffold: channel IS"),
        ("SELECT id FROM docs WHERE channel < 'x'", "unsupported WHERE expression in scaffold: channel <"),
        ("SELECT id FROM docs WHERE 'true' = keystone", "expected `field = value` predicate"),
        ("SELECT id FROM docs WHERE keystone > 'a'", "unsupported WHERE expression in scaffold: keystone >"),
        ("SELECT id FROM docs WHERE", "sql parser error: Expected: an expression, found: EOF"),
        ("SELECT id FROM docs WHERE a = 'x' b", "sql parser error: Expected: end of statement, found: b"),
        ("SELECT id FROM docs WHERE a = 'x", "sql parser error: Unterminated string literal at Line: 1"),
        ("SELECT id FROM docs WHERE (a = 'x'", "sql parser error: Expected: ), found: EOF"),
        ("SELECT id FROM docs WHERE fidelity > 'high'", "expected a number for `fidelity`, got 'high'"),
        ("SELECT id FROM docs WHERE vector_topk_cosine('[a]', 1)", "invalid vector literal: '[a]'"),
        ("SELECT id FROM docs WHERE vector_topk_cosine('[nan]', 1)", "invalid vector literal: every number"),
        (
            "SELECT id FROM docs WHERE vector_topk_cosine('[1]', -1)",
            "expected a whole number for k, got '-1'",
        ),
    ],
)
def test_what_is_not_in_the_language_gets_its_message(sql: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        evaluate(parse(sql), Store(), {})
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("channel = 'hearing'", (1, 2)),
        ("'hearing' = docs.Channel", (1, 2)),
        ("channel = 'Hearing'", ()),
        ("text = 'it''s'", (2,)),
        ("lr = 0.04", (2,)),
        ("tag('channel') = 'seeing'", (5,)),
        ("tag('channel') != 'hearing'", (3, 4, 5)),
        ("NOT channel = 'hearing' AND (channel = 'seeing' OR keystone = true)", (4, 5)),
        ("channel = 'hearing' OR channel = 'seeing' AND lr = 0.04", (1, 2)),
        ("keystone = false", (1, 2, 3)),
        ("keystone != false", (4,)),
        ("fidelity < 0.75", (2,)),
        ("fidelity = 0.70000005", (2,)),
        ("fidelity != 0.70000005", (1, 3, 4)),
        ("importance >= 0.3", (4,)),
        ("recalls BETWEEN 1 AND 4", (3,)),
        ("recalls NOT BETWEEN 1 AND 4", (1, 2, 4, 5)),
        ("age > 10 AND staleness <= 50", (1,)),
        ("state = 'Forgiven'", (3,)),
        ("state != 'Active'", (3,)),
        ("emotion = 'joy'", (3,)),
        ("emotion = 'null'", (1, 2, 4)),
        ("page = 3", (1,)),
        ("page > 2", (1, 3)),
        ("page BETWEEN 10 AND 20", (3,)),
        ("book != 'x'", (3,)),
        ("id = 3", (3,)),
        ("id IN (1, 5, 77)", (1, 5)),
        ("id NOT IN (1, 5)", (2, 3, 4)),
        ("id >= 4", (4, 5)),
        ("channel IN ('seeing', 'thinking')", (3, 4, 5)),
        ("channel LIKE '%ing'", (1, 2, 3, 4, 5)),
        ("channel LIKE 's_eing'", (5,)),
        ("text NOT LIKE '%'", (3, 4, 5)),
        ("tag_jaccard('channel', 'hearing', 'lr', '0.04')", (2,)),
        ("decay_alpha = 0.01", (1, 2, 3, 4)),
        ("channel = 'hearing' -- a note", (1, 2)),
        ("channel /* a\n note */ = 'hearing'", (1, 2)),
    ],
)
def test_conditions_select(where: str, ids: tuple[int, ...]) -> None:
    found = select(where)
    assert found.ids == ids
    assert not found.ranked


@pytest.mark.parametrize(
    ("sql", "ids"),
    [
        ("SELECT * FROM docs", (1, 2, 3, 4, 5)),
        ("SELECT id FROM docs WHERE id < 3 UNION SELECT id FROM docs WHERE id > 4", (1, 2, 5)),
        ("SELECT id FROM docs INTERSECT SELECT id FROM docs WHERE id = 2", (2,)),
        ("SELECT id FROM docs EXCEPT SELECT id FROM docs WHERE id = 2", (1, 3, 4, 5)),
        ("SELECT id FROM docs MINUS (SELECT id FROM docs WHERE id > 1)", (1,)),
        (
            "SELECT id FROM docs WHERE id=1 UNION SELECT x FROM docs INTERSECT SELECT x FROM docs WHERE id=3",
            (1, 3),
        ),
        ("WITH x AS (SELECT (1)) SELECT id FROM docs WHERE id = 1", (1,)),
        ("SELECT id FROM docs JOIN other ON a = b WHERE id = 1", (1,)),
        ("SELECT id FROM docs WHERE id < 3 GROUP BY id HAVING count(*) > 1", (1, 2)),
        ("SELECT id FROM docs ORDER BY id DESC LIMIT 2", (5, 4)),
        ("SELECT id FROM docs ORDER BY fidelity, id DESC LIMIT 2 OFFSET 1", (4, 3)),
        ("SELECT id FROM docs LIMIT 0", ()),
        ("SELECT id FROM docs;", (1, 2, 3, 4, 5)),
    ],
)
def test_statements_combine(sql: str, ids: tuple[int, ...]) -> None:
    assert evaluate(parse(sql), Store(), {}).ids == ids


def test_vector_functions_rank_over_the_whole_store_and_filter_afterwards() -> None:
    found = select("vector_topk_cosine('[0,1]', 3)")
    assert (found.ids, found.ranked, found.total) == ((3, 2, 1), True, 3)
    assert found.scores[3] == pytest.approx(1.0)
    assert select("vector_topk_cosine('0,1', '2') AND channel = 'hearing'").ids == (2,)
    assert select("vector_topk_l2('[1,1]', 2)").ids == (2, 1)
    assert select("vector_topk_cosine('[1,0,0]', 2)").ids == ()


def test_embedded_texts_are_found_and_used() -> None:
    query = "vector_topk_cosine(embed('warm''down'), 1) OR vector_topk_l2(embed('muon'), 1)"
    assert embedded_texts(parse(f"SELECT id FROM docs WHERE {query}")) == ["warm'down", "muon"]
    assert select("vector_topk_cosine(embed('a'), 1)", {"a": [0.0, 2.0]}).ids == (3,)
    with pytest.raises(QueryError):
        select("vector_topk_cosine(embed('a'), 1)")


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("state = 'Pruned'", True),
        ("channel = 'x' OR NOT (id = 1 AND state IN ('Active', 'Pruned'))", True),
        ("state LIKE '%uned'", True),
        ("state = 'Active' OR text = 'Pruned'", False),
        ("tag('state') = 'Pruned'", False),
        ("state LIKE 'A%'", False),
    ],
)
def test_a_state_counts_as_asked_for_where_a_condition_names_it(where: str, asked: bool) -> None:
    query = parse(f"SELECT id FROM docs WHERE id = 1 UNION SELECT id FROM docs WHERE {where}")
    assert asks_for_state(query, State.PRUNED) == asked


@pytest.mark.parametrize(
    ("tail", "ids"),
    [
        ("", [1, 2, 3, 4]),
        ("ORDER BY recalls", [3, 1, 4, 2]),
        ("ORDER BY recalls LIMIT 2", [2, 1]),
        ("ORDER BY recalls DESC LIMIT 2", [3, 1]),
        ("ORDER BY fidelity ASC", [1, 2, 3, 4]),
        ("ORDER BY id DESC", [4, 3, 2, 1]),
        ("ORDER BY page", [1, 2, 3, 4]),
        ("limit 1", [1]),
    ],
)
def test_query_rows_are_arranged_by_the_words_of_the_text(tail: str, ids: list[int]) -> None:
    recalls = {1: 2.0, 2: 0.0, 3: 5.0, 4: 2.0}

    def value(row: int, column: str) -> float:
        return {"id": float(row), "recalls": recalls[row], "fidelity": 1.0}[column]

    assert arrange_rows(f"SELECT id FROM docs {tail}", [1, 2, 3, 4], value) == ids


def test_long_chains_do_not_exhaust_the_stack_and_deep_nesting_is_refused() -> None:
    chain = " OR ".join(["id = 1"] * 3000)
    assert select(chain).ids == (1,)
    with pytest.raises(QueryError, match="recursion limit"):
        select("(" * 5000 + "id = 1" + ")" * 5000)
    for piece in ("/*", "'", "(", "a.", "NOT ", "--"):
        with pytest.raises(QueryError):
            select("id = 1 AND " + piece * (200_000 // len(piece)))
    with pytest.raises(QueryError, match="too long"):
        select("x" * 300_000)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(WORDS.split()),
        max_size=20,
    )
)
def test_any_words_give_an_answer_or_a_query_error(words: list[str]) -> None:
    for text in (" ".join(words), "SELECT id FROM docs WHERE " + " ".join(words)):
        try:
            evaluate(parse(plan(text).sql), Store(), {})
        except QueryError as error:
            assert error.message  # noqa: PT017 - either outcome is right, any other error is not
