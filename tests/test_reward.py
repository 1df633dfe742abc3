import json

import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.errors import UserError
from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.ordered import Placed
from r1kit.reward import RewardSummary, score_rollouts, score_while_drawn
from r1kit.reward_spec import parse_rewards


def rollout(number=1, **fields):
    good = "<think>a</think><answer>7</answer>"
    return Record({"id": str(number), "completion": good, "answer": "7", "x": number, **fields}, f"f:{number}")


def test_a_scored_rollout_keeps_its_fields_and_gains_four():
    summary = RewardSummary()
    (scored,) = score_rollouts([rollout()], Grader(parse_rewards("accuracy,format:0.2")), summary)
    assert list(scored) == ["id", "completion", "answer", "x", "rewards", "reward", "extracted", "verdict"]
    assert scored.place == "f:1"


def test_the_summary_counts_verdicts_and_means_and_says_what_is_null_and_why():
    summary = RewardSummary()
    rollouts = [rollout(), rollout(2, answer=None), rollout(3, answer="8"), rollout(4, answer=None)]
    list(score_rollouts(rollouts, Grader(parse_rewards("accuracy,format")), summary))
    first, accuracy, null, form, longest = summary.lines()
    assert first == "4 rollouts: 2 not judged, 1 correct, 1 wrong"
    assert accuracy.startswith("  accuracy: mean 0.500, ")
    assert null == "    2 null: no gold answer (first: f:2)"
    assert form.startswith("  format: mean 1.000, ")
    assert longest.startswith("  longest: ")
    assert " of f:" in longest


def test_nothing_graded_is_summed_up_too():
    assert RewardSummary().lines() == ["0 rollouts"]


def test_rollouts_are_graded_while_others_are_drawn():
    rollouts = [rollout(number, answer=str(number % 9)) for number in range(600)]
    grader = Grader(parse_rewards("accuracy"))
    scored = list(score_rollouts(rollouts, grader, RewardSummary()))
    seen = 0

    def draw():
        for number, record in enumerate(rollouts):
            yield Placed(number, 0, 1, record)
            for _ in range(100_000 if number == 100 else 0):
                if seen:  # graded ones leave before the last is drawn
                    break
                yield Placed(-1, 0, 1, rollouts[0])

    placed = []
    for item in score_while_drawn(draw(), grader):
        placed.append(item)
        seen += 1
    assert len(placed) < 100_000
    assert [item.record for item in placed if item.problem >= 0] == scored
    assert [item.problem for item in placed if item.problem >= 0] == list(range(600))


def test_what_was_drawn_before_a_failure_is_graded():
    def draw():
        yield Placed(0, 0, 1, rollout())
        raise UserError("server", "is gone", "start it")

    scored = score_while_drawn(draw(), Grader(parse_rewards("accuracy")))
    assert next(scored).record["verdict"]
    with pytest.raises(UserError, match="is gone"):
        next(scored)


def test_the_command_grades_kinds_by_their_own_rewards(tmp_path):
    program = "```python\ndef f(x):\n    return x + 1\n```"
    tests = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [2, 9]}
    rows = [dict(rollout()), {"id": "c", "kind": "code", "tests": tests, "completion": program}]
    path = write_jsonl(tmp_path / "rollouts.jsonl", rows)
    run = r1kit("reward", "--reward", "math=accuracy,format:0.2", "code=accuracy:2", path, "--reward-arg",
                "accuracy.partial=true", "--workers", 1)  # fmt: skip
    assert run.returncode == 0, run.stderr
    math, code = lines(run.stdout)
    assert (math["rewards"], math["reward"]) == ({"accuracy": 1.0, "format": 1.0}, 1.2)
    assert (code["rewards"], code["reward"], code["passed"]) == ({"accuracy": 0.5}, 1.0, 0.5)


def test_any_number_of_workers_gives_the_same_bytes(tmp_path):
    rows = [dict(rollout(i, completion=f"so it is {i}/2", answer=str(i / 2))) for i in range(40)]
    path = write_jsonl(tmp_path / "rollouts.jsonl", rows)
    one, four = r1kit("reward", path, "--workers", 1), r1kit("reward", path, "--workers", 4)
    assert one.stdout == four.stdout
    assert [row["verdict"] for row in lines(one.stdout)] == ["correct"] * 40


def test_explain_says_what_was_read_and_why_it_differs(tmp_path):
    rows = [
        dict(rollout(1, sample=0)),
        dict(rollout(1, sample=1, completion="<think>b</think>\nIt is $\\frac{1}{2}$.", answer="0.6")),
        {
            "id": "c",
            "kind": "code",
            "tests": {"asserts": "assert f(1) == 3"},
            "completion": "```\ndef f(x): return 2\n```",
        },
    ]
    path = write_jsonl(tmp_path / "rollouts.jsonl", rows)
    math = r1kit("reward", "--explain", "1/1", path)
    assert (math.returncode, math.stdout) == (0, "")
    assert f"{path}:2: 1, kind math" in math.stderr
    assert "read from: what follows the last </think>: 'It is $\\\\frac{1}{2}$.'" in math.stderr
    assert "gold '0.6' parses to: 0.6" in math.stderr
    assert "answer parses to: 1/2" in math.stderr
    assert "they differ: gold - answer = 0.1" in math.stderr
    assert "verdict: wrong" in math.stderr
    code = r1kit("reward", "--explain", "c", path)
    assert "why: assert f(1) == 3" in code.stderr
    assert "verdict: wrong, 0% of the tests" in code.stderr
    missing = r1kit("reward", "--explain", "d", path)
    assert (missing.returncode, missing.stderr) == (
        1,
        'r1kit reward: error: --explain: no rollout "d"; give its id, or id/sample\n',
    )


def test_what_cannot_be_graded_is_null_with_its_reason_on_stderr(tmp_path):
    rows = [
        {"id": "1", "completion": "7", "answer": "nobody knows"},
        {"id": "2", "completion": "```\nx\n```", "tests": {"asserts": "assert ("}},
        {"id": "3", "completion": "```\nx\n```", "tests": 5},
        {"id": "4", "completion": "Paris", "kind": "general"},
        {"id": "5", "completion": "Paris", "answer": "It is Paris. " * 9, "kind": "general"},
        {"id": "6", "completion": "B", "answer": "E", "choices": ["Rome", "Paris"]},
    ]
    run = r1kit("reward", "--reward", "accuracy", write_jsonl(tmp_path / "r.jsonl", rows))
    assert run.returncode == 0
    assert [row["reward"] for row in lines(run.stdout)] == [None] * 6
    for reason in (
        "the gold answer cannot be read",
        "tests.asserts is no Python source",
        "tests is no object",
        "no gold answer",
        "the gold answer is a text of 116 characters; exact match is for short ones",
        "the gold answer is none of the letters A to B",
    ):
        assert reason in run.stderr


def test_bad_flags_are_one_line(tmp_path):
    path = write_jsonl(tmp_path / "r.jsonl", [dict(rollout())])
    for flags, message in [
        (("--reward", "acuracy"), 'unknown reward "acuracy"'),
        (("--reward-arg", "accuracy.x=1"), 'accuracy has no option "x"; it has partial'),
        (("--reward", "overlong"), "needs max_tokens"),
        (("--reward", "model:/nowhere"), "/nowhere"),
    ]:
        run = r1kit("reward", path, *flags)
        assert run.returncode in (1, 2), flags
        assert run.stdout == ""
        assert run.stderr.count("\n") == 1
        assert message in run.stderr


def test_a_file_of_your_own_runs_only_where_it_is_named(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("print('loaded')\ndef short(completion):\n    return float(len(completion) < 99)\n")
    path = write_jsonl(tmp_path / "r.jsonl", [dict(rollout())])
    assert json.loads(r1kit("reward", path).stdout)["reward"] == 1.2
    run = r1kit("reward", path, "--reward", f"{mine}:short:3")
    assert run.stderr.count("loaded") + run.stdout.count("loaded") == 1
    assert '"reward": 3.0' in run.stdout
