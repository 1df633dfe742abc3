import re

import pytest
from conftest import write_jsonl

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.mixing import Mixed, Share, mix_rows, parse_mix


@pytest.fixture
def general(tmp_path):
    return str(write_jsonl(tmp_path / "general.jsonl", [{"n": i} for i in range(100)]))


def mixed(count, *shares, seed=0):
    sources = [Mixed(Share(*share)) for share in shares]
    rows = list(mix_rows((Record({"own": i}, "f:1") for i in range(count)), sources, seed))
    return rows, sources


@pytest.mark.parametrize(("count", "share", "wanted"), [(60, 0.25, 20), (10, 0.5, 10), (30, 0.1, 3), (1, 0.25, 0)])
def test_the_share_is_reached_to_the_nearest_row(general, count, share, wanted):
    rows, [source] = mixed(count, (general, share))
    assert source.rows == wanted == len(rows) - count
    assert not source.exhausted


def test_rows_are_spread_evenly(general):
    rows, _ = mixed(60, (general, 0.25))
    assert [sum(source is not None for _, source in rows[i : i + 20]) for i in (0, 20, 40, 60)] == [5, 5, 5, 5]


def test_own_rows_keep_their_order_and_none_comes_twice(general):
    rows, _ = mixed(60, (general, 0.5))
    assert [row["own"] for row, source in rows if source is None] == list(range(60))
    others = [row["n"] for row, source in rows if source is not None]
    assert len(set(others)) == len(others) == 60


def test_which_rows_and_in_which_order_depends_on_the_seed_alone(general):
    orders = [[row.get("n") for row, _ in mixed(30, (general, 0.5), seed=seed)[0]] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    others = [n for n in orders[0] if n is not None]
    assert others != sorted(others)
    assert max(others) > 50  # they are drawn from the whole file


def test_several_files_have_their_shares_each(general):
    rows, sources = mixed(50, (general, 0.25), (general, 0.25))
    assert [source.rows for source in sources] == [25, 25]
    assert sources[0].line(len(rows)) == f"  mixed in: 25 rows of {general}, 25.0%"


def test_a_file_that_ends_early_is_not_begun_again(general):
    rows, [source] = mixed(300, (general, 0.5))
    assert (len(rows), source.rows, source.exhausted) == (400, 100, True)
    assert source.line(400) == (
        f"  mixed in: 100 rows of {general}, 25.0% of 50.0%: the file has no more, and none is taken twice"
    )


def test_no_rows_mix_nothing_in(general):
    assert mixed(0, (general, 0.5))[0] == []


@pytest.mark.parametrize("text", ["FILE", "FILE:0", "FILE:1", "FILE:-1", "FILE:x", ":0.5", "FILE:nan"])
def test_a_share_that_is_none_is_refused(general, text):
    text = text.replace("FILE", general)
    message = f'--mix: "{text}" is not FILE:SHARE with 0 < SHARE < 1; write --mix general.jsonl:0.25, for instance'
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_mix([text])


def test_shares_leave_something_for_the_rest(general):
    with pytest.raises(UsageError, match="the shares add up to 1 or more; leave a share for the rollouts"):
        parse_mix([f"{general}:0.5", f"{general}:0.5"])


@pytest.mark.parametrize("name", ["none.jsonl", "-"])
def test_a_file_that_is_not_there_is_named_before_anything_is_read(name):
    with pytest.raises(UserError, match=rf"{name}: cannot be mixed in \(no such file\); name a file of examples"):
        parse_mix([f"{name}:0.5"])
