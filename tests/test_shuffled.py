from r1kit.jsonl import Record
from r1kit.shuffled import shuffle_rows


def rows(count):
    return (Record({"n": i, "text": "é\n"}, f"x:{i + 1}") for i in range(count))


def test_every_order_of_three_rows_comes_up_about_as_often():
    counts = {}
    for seed in range(600):
        order = tuple(row["n"] for row in shuffle_rows(rows(3), seed))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert min(counts.values()) > 60


def test_rows_keep_what_they_hold_and_where_they_were_read():
    shuffled = list(shuffle_rows(rows(50), 0))
    assert {row.place for row in shuffled} == {f"x:{i}" for i in range(1, 51)}
    assert all(row.place == f"x:{row['n'] + 1}" and row["text"] == "é\n" for row in shuffled)
    assert list(shuffle_rows(rows(0), 0)) == []
