import base64
import json
import pickle
import zlib

import pytest

from r1kit.code import run_tests
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.livecodebench import livecodebench_tests, unpack_private
from r1kit.row_forms import problem_of_row

PUBLIC = [{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]
PRIVATE = [{"input": "[4]\n0", "output": "4", "testtype": "functional"}]


def pack(content):
    return base64.b64encode(zlib.compress(pickle.dumps(content))).decode()


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


def test_public_and_private_tests_call_the_function():
    row = {
        "question_content": "Sum.",
        "starter_code": "class Solution:\n    def total(self, xs, y):\n        ",
        "public_test_cases": json.dumps(PUBLIC),
        "private_test_cases": pack(json.dumps(PRIVATE)),
        "metadata": json.dumps({"func_name": "total"}),
    }
    problem = problem_of_row(Record(row, "x:1"))
    program = "class Solution:\n    def total(self, xs, y):\n        return sum(xs) + y"
    result = run_tests(program, problem["tests"])
    assert (result.verdict, result.total) == ("correct", 2)
    assert row["starter_code"] in problem["prompt"]
    assert "private_test_cases" not in problem


def test_tests_of_text_name_no_function():
    cases = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
    assert livecodebench_tests(cases, None, "{}") == {"inputs": ["1\n"], "outputs": ["2\n"]}


def test_what_a_pickle_names_is_never_run(capsys):
    for content in (Evil(), [Evil()], {"x": Evil()}):
        with pytest.raises(ValueError, match=r"they name builtins\.print"):
            unpack_private(pack(content))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (pack(["no text"]), "are a list, no text"),
        ("AAAA", "cannot be unpacked"),
        (base64.b64encode(zlib.compress(b"\x80")).decode(), "cannot be unpacked"),
    ],
)
def test_private_tests_of_another_form_are_refused(packed, message):
    with pytest.raises(ValueError, match=message):
        unpack_private(packed)
    row = {"question_content": "q", "public_test_cases": "[]", "private_test_cases": packed}
    with pytest.raises(UserError, match=r"x:1: its columns .* do not hold what they should"):
        problem_of_row(Record(row, "x:1"))


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("r1kit.livecodebench.LARGEST", 1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        unpack_private(pack("x" * 100_000))
