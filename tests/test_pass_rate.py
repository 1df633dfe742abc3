import pytest
from conftest import r1kit, write_jsonl

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record, read_records
from r1kit.pass_rate import parse_pass_rate, problems_within


def scored(name, *accuracies, **fields):
    """Return the scored rollouts of a problem."""
    problem = {"id": name, "prompt": f"What is {name}?", "answer": "1", "source": "mine", **fields}
    return [
        {**problem, "sample": i, "completion": "1", "finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": 1,
         "rewards": {"accuracy": value}, "reward": value, "extracted": "1", "verdict": "correct"}
        for i, value in enumerate(accuracies)
    ]  # fmt: skip


ROWS = [*scored("never", 0, 0, 0), *scored("half", 0, 1), *scored("tenth", *[1] + [0] * 9), *scored("always", 1.0, 1.0)]


def within(rows, low, high):
    problems, count = problems_within([Record(row, f"f:{i + 1}") for i, row in enumerate(rows)], low, high)
    return [problem["id"] for problem in problems], count


def test_problems_within_the_bounds_are_kept_both_ends_included():
    assert within(ROWS, 0.1, 0.9) == (["half", "tenth"], 4)
    assert within(ROWS, 0.0, 1.0) == (["never", "half", "tenth", "always"], 4)
    assert within(ROWS, 0.2, 0.5) == (["half"], 4)


def test_what_cannot_be_graded_does_not_count():
    rows = [*scored("graded once", None, 1, None, 0), *scored("never graded", None, None)]
    assert within(rows, 0.5, 0.5) == (["graded once"], 2)


def test_a_problem_is_itself_again_without_what_rollouts_add():
    [problem], _ = problems_within([Record(row, "f:1") for row in scored("half", 0, 1)], 0, 1)
    assert dict(problem) == {"id": "half", "prompt": "What is half?", "answer": "1", "source": "mine"}


@pytest.mark.parametrize("text", ["0.1", "0.9:0.1", "a:b", "0:2", ":"])
def test_bounds_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match=r"is not LOW:HIGH with 0 <= LOW <= HIGH <= 1; write 0\.1:0\.9"):
        parse_pass_rate(text)


def test_rollouts_without_accuracy_name_the_remedy():
    bare = {key: value for key, value in scored("x", 1)[0].items() if key != "rewards"}
    with pytest.raises(UserError, match='f:1: no "rewards"; --pass-rate reads scored rollouts; run r1kit reward first'):
        within([bare], 0, 1)
    with pytest.raises(UserError, match="no accuracy among its rewards; run r1kit reward --reward accuracy first"):
        within([{**bare, "rewards": {"format": 1}}], 0, 1)


def test_the_command_says_what_is_left_and_refuses_nothing_left(tmp_path):
    path = write_jsonl(tmp_path / "scored.jsonl", ROWS)
    assert len(list(read_records(str(path)))) == len(ROWS)
    run = r1kit("grpo", "--model", "base", path, "--pass-rate", "0.6:0.7", "-o", tmp_path / "run")
    assert run.returncode == 1
    assert (
        run.stderr
        == f"r1kit grpo: error: {path}: none of 4 problems has a pass rate within 0.6:0.7; widen --pass-rate\n"
    )
    assert not (tmp_path / "run").exists()
