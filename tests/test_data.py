import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.data import EMBEDDED, parse_renames, read_problem_list, read_problems
from r1kit.errors import UsageError, UserError


@pytest.mark.parametrize("name", EMBEDDED)
def test_train_and_test_share_no_problem(name):
    train, test = ({p["prompt"] for p in read_problems(name, split)} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


def test_limit_and_map(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"q": "1 + 1", "gold": "2"}, {"q": "1 + 2", "gold": "3"}])
    run = r1kit("data", path, "--map", "prompt=q", "--map", "answer=gold", "--limit", 1)
    [problem] = lines(run.stdout)
    assert (problem["prompt"], problem["answer"]) == ("1 + 1", "2")
    assert "q" not in problem


def test_a_renamed_field_replaces_one_of_that_name(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"prompt": "old", "q": "new"}])
    assert lines(r1kit("data", path, "--map", "prompt=q").stdout)[0]["prompt"] == "new"


def test_bad_sources_are_named(tmp_path):
    with pytest.raises(UserError, match="aritth: no such file or embedded set; the sets are arith, facts, functions"):
        read_problems("aritth")
    with pytest.raises(UsageError, match='unknown split "dev"'):
        read_problems("arith", "dev")
    with pytest.raises(UsageError, match='"prompt" is not NEW=OLD'):
        parse_renames(["prompt"])


def test_a_list_of_problems_is_never_empty_and_its_ids_differ(tmp_path):
    with pytest.raises(UserError, match="holds no problems"):
        read_problem_list(str(write_jsonl(tmp_path / "e.jsonl", [])), "train")
    twice = write_jsonl(tmp_path / "t.jsonl", [{"id": 1, "prompt": "p"}, {"id": "1", "prompt": "q"}])
    with pytest.raises(UserError, match=r't\.jsonl:2: the id "1" stands twice'):
        read_problem_list(str(twice), "train")
