import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.records import as_problem


def test_other_projects_names_become_ours():
    assert (
        as_problem(Record({"question": "q", "solution": "s", "x": 1}, "f:1")).items()
        >= {
            "prompt": "q",
            "answer": "s",
            "x": 1,
        }.items()
    )


def test_our_names_win_over_aliases():
    problem = as_problem(Record({"prompt": "p", "question": "q"}, "f:1"))
    assert (problem["prompt"], problem["question"]) == ("p", "q")


def test_a_missing_id_is_a_hash_of_the_content_alone():
    first = as_problem(Record({"prompt": "p", "answer": "1"}, "f:1"))
    again = as_problem(Record({"answer": "1", "prompt": "p", "id": None}, "g:7"))
    other = as_problem(Record({"prompt": "p", "answer": "2"}, "f:2"))
    assert first["id"] == again["id"] != other["id"]


def test_an_id_that_is_a_number_becomes_text():
    assert as_problem(Record({"id": 7, "prompt": "p"}, "f:1"))["id"] == "7"


def test_a_record_without_a_prompt_is_named():
    with pytest.raises(UserError, match='f:4: no "prompt"'):
        as_problem(Record({"text": "p"}, "f:4"))
