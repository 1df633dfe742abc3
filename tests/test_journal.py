import json

import pytest

from r1kit.errors import UserError
from r1kit.journal import Journal
from r1kit.jsonl import Record
from r1kit.ordered import Placed, in_order


def problems(count):
    return [Record({"id": str(i), "prompt": f"{i}?"}, f"f:{i + 1}") for i in range(count)]


def placed(number, sample, of=2):
    problem = problems(number + 1)[number]
    return Placed(number, sample, of, problem.derive(sample=sample, completion=f"{number}.{sample}"))


MADE = [placed(1, 1), placed(0, 0), placed(2, 0), placed(0, 1), placed(2, 1), placed(1, 0)]  # in no order


def write(path, made, settings, count=3, **how):
    journal = Journal(str(path), settings, **how)
    list(journal.watch(problems(count)))
    journal.write(made)
    return journal


def written(path):
    return [json.loads(line)["completion"] for line in path.read_text().splitlines()]


def test_records_leave_in_order_each_as_soon_as_it_can():
    left = in_order(iter(MADE))
    assert next(left)["completion"] == "0.0"
    assert [record["completion"] for record in left] == ["0.1", "1.0", "1.1", "2.0", "2.1"]
    assert list(in_order([])) == []


def test_the_output_is_in_order_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "out.jsonl"
    write(path, MADE, {})
    assert written(path) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def broken(made, count):
    yield from made[:count]
    raise UserError("f:9", "no more")


@pytest.mark.parametrize("count", range(1, 7))
def test_a_run_that_is_resumed_gives_the_same_bytes(tmp_path, count, capsys):
    whole, path = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    write(whole, MADE, {})
    path.write_text("old\n")
    with pytest.raises(UserError, match="no more"):
        write(path, broken(MADE, count), {"seed": 0})
    assert "what was done is kept in" in capsys.readouterr().err
    assert path.read_text() == "old\n"
    part = tmp_path / "out.jsonl.part"
    assert [json.loads(line)["completion"] for line in part.read_text().splitlines()] == [
        item.record["completion"] for item in MADE[:count]
    ]
    part.write_bytes(part.read_bytes() + b'{"id": "2", "sam')  # torn
    journal = Journal(str(path), {"seed": 0}, resume=True)
    asked = list(journal.watch(problems(3)))
    rest = [item for item in MADE if item.sample not in journal.done(item.record["id"])]
    assert len(rest) == 6 - count
    assert len(asked) == 3
    journal.write(rest)
    assert path.read_bytes() == whole.read_bytes()


def test_a_torn_record_is_owed_again(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(UserError):
        write(path, broken(MADE, 4), {})
    part = tmp_path / "out.jsonl.part"
    part.write_bytes(part.read_bytes()[:-3])
    journal = Journal(str(path), {}, resume=True)
    assert (journal.done("0"), journal.done("1"), journal.done("2")) == ({0}, {1}, {0})


def test_the_last_group_is_owed_again_where_groups_are_made_whole(tmp_path):
    path, made = tmp_path / "out.jsonl", sorted(MADE)
    with pytest.raises(UserError):
        write(path, broken(made, 4), {})
    journal = Journal(str(path), {}, resume=True, whole_groups=True)
    assert (journal.done("0"), journal.done("1")) == ({0, 1}, set())
    list(journal.watch(problems(3)))
    journal.write(made[2:])
    assert written(path) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]


def test_what_is_there_is_neither_lost_nor_mixed(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(UserError):
        write(path, broken(MADE, 4), {"seed": 0, "model": "base"})
    with pytest.raises(UserError, match=r"out.jsonl.part: holds what was done of a run that did not end; say --resume"):
        Journal(str(path), {"seed": 0, "model": "base"})
    with pytest.raises(UserError, match="the run has seed 0, not 1; resume with the same settings"):
        Journal(str(path), {"seed": 1, "model": "base"}, resume=True)
    journal = Journal(str(path), {"seed": 0, "model": "base"}, resume=True)
    with pytest.raises(UserError, match=r'g:1: "0" is not the problem that the records in .* were made of'):
        list(journal.watch([Record({"id": "0", "prompt": "another?"}, "g:1")]))
    with pytest.raises(UserError, match='holds records of "2", which is no problem of the input'):
        write(path, [], {"seed": 0, "model": "base"}, count=2, resume=True)
    assert Journal(str(path), {"seed": 1}, overwrite=True).done("0") == set()


def test_a_run_that_did_nothing_leaves_nothing(tmp_path):
    with pytest.raises(UserError):
        write(tmp_path / "out.jsonl", broken(MADE, 0), {})
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"is a folder; name a file"):
        Journal(str(tmp_path), {})
    with pytest.raises(UserError, match=r"cannot be written .*; make its folder first"):
        Journal(str(tmp_path / "none" / "out.jsonl"), {})
