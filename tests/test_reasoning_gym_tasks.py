import json
from pathlib import Path

import pytest
from conftest import r1kit

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.reasoning_gym_tasks import make_problems, score_task, task_names
from r1kit.reasoning_gym_worker import FORMULA, PLAIN, check, evaluate
from r1kit.row_forms import problem_of_row
from r1kit.verdict import judge_rollout

NO_GOLD = {
    "boxnet",
    "graph_color",
    "propositional_logic",
    "rubiks_cube",
    "rush_hour",
}  # many answers, and none is given


def made(task, n=1, **settings):
    """Return problems as they are after a file."""
    return [Record(json.loads(json.dumps(dict(p))), p.place) for p in make_problems(task, n, 7, settings)]


def verdict(problem, answer):
    completion = f"<think>so</think> <answer>{answer}</answer>"
    return judge_rollout({**problem, "completion": completion}, lambda: pytest.fail("no program is run"))


def test_the_gold_answer_of_every_task_passes(capsys):
    tasks = [task for task in task_names() if task not in NO_GOLD]
    failed = [task for task in tasks if any(verdict(p, p["answer"]).verdict != "correct" for p in made(task, 2))]
    with capsys.disabled():
        print(f"\n{len(tasks) - len(failed)} of {len(tasks)} tasks of reasoning-gym: their own gold answer passes")  # noqa: T201
    assert failed == []
    assert all("answer" not in p for task in NO_GOLD for p in made(task))


def test_which_problems_are_made_depends_on_the_seed_alone():
    first, again, other = (list(make_problems("word_sorting", 50, seed, {})) for seed in (1, 1, 2))
    assert first == again
    assert not {p["prompt"] for p in first} & {p["prompt"] for p in other}  # as seeds of reasoning-gym they share 49
    assert first[:3] == list(make_problems("word_sorting", 3, 1, {}))


def test_a_wrong_answer_fails_and_a_near_one_gets_its_share():
    [problem] = made("spiral_matrix")
    right = problem["answer"]
    assert verdict(problem, "1 2").passed == 0.0
    assert verdict(problem, right)[:2] == (right, "correct")
    assert verdict(problem, str(right.split()).replace("'", ""))[1::2] == ("wrong", 0.1)  # a list
    assert verdict(problem, f"\\boxed{{{right}}}").verdict == "correct"
    assert verdict(problem, "").verdict == "no_answer"


def test_the_settings_that_made_a_problem_score_it():
    [narrow], [wide] = made("puzzle24", max_value=5), made("puzzle24")
    assert narrow["reasoning_gym"]["settings"] == {"max_value": 5}
    assert score_task(narrow, "6 * 4 * 1 * 1") == 0.01
    assert score_task(wide, "6 * 4 * 1 * 1") == 1.0  # it does not look at which numbers were given


def test_countdown_takes_plain_arithmetic_with_each_number_once():
    problem = problem_of_row(Record({"nums": [7, 2, 3], "target": 17}, "x:1"))
    assert verdict(problem, "7 * 2 + 3").verdict == "correct"
    assert verdict(problem, "(3 - (-7 * 2))").verdict == "correct"
    for wrong in ("7 + 7 + 3", "17", "7 * 2 + 3 + 0", "7 ** 2 - 32", "7 * 2 + 3 = 17", "7 2 3"):
        assert verdict(problem, wrong).verdict == "wrong", wrong
    squares = problem_of_row(Record({"nums": [7, 2, 1], "target": 49}, "x:1"))
    assert verdict(squares, "7 ** 2 * 1").verdict == "wrong"
    assert verdict(squares, "9**9**9**9").verdict == "wrong"


PROGRAM = "__import__('os').system('touch {}') or [1]"


@pytest.mark.parametrize("task", ["n_queens", "binary_matrix", "string_insertion", "simple_integration", "countdown"])
def test_no_answer_runs_a_program(task, tmp_path):
    [problem] = made(task)
    file = tmp_path / "ran"
    assert score_task(problem, PROGRAM.format(file)) <= 0.05
    assert not file.exists()


def test_no_metadata_runs_a_program(tmp_path):
    file = tmp_path / "ran"
    [problem] = made("bitwise_arithmetic")
    problem["reasoning_gym"]["metadata"]["problem"] = PROGRAM.format(file)
    assert score_task(problem, "0x1") == 0.0
    assert not file.exists()


def test_an_answer_that_takes_too_long_is_ended():
    [problem] = made("simple_integration")
    assert verdict(problem, "9**9**9**9**9").verdict in ("timeout", "wrong")
    [again] = made("chain_sum")
    assert verdict(again, again["answer"]).verdict == "correct"  # by another worker


@pytest.mark.parametrize(
    "text",
    ["x.y", "x[0]", "'a'", "f(x)", "lambda: 1", "[x for x in y]", "sin(x)(1)", "sin(*x)", "x := 1", "x y", "1;2", ""],
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        check(text, FORMULA)
    with pytest.raises(ValueError, match=r".+"):
        check(text, PLAIN)


def test_lists_and_arithmetic_are_evaluated():
    assert evaluate("[[1, -2], ['a']]") == [[1, -2], ["a"]]
    assert evaluate("(0x1f << 2) & ~3 ^ 5") == (0x1F << 2) & ~3 ^ 5
    with pytest.raises(ValueError, match="Call is not allowed"):
        evaluate("print(1)")


def test_a_problem_that_does_not_hold_what_its_task_needs_is_not_graded():
    [problem] = made("chain_sum")
    problem["reasoning_gym"] = {"task": "none", "metadata": {}}
    assert verdict(problem, "1").verdict is None
    assert "names no task that can be opened" in verdict(problem, "1").reason
    [problem] = made("countdown")
    problem["reasoning_gym"]["metadata"] = {}
    assert verdict(problem, problem["answer"]).verdict != "correct"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (("chain_sun",), "reasoning-gym:chain_sun: no such task; the nearest is chain_sum"),
        (("composite",), "reasoning-gym:composite: no such task"),
        (
            ("chain_sum", "--task-arg", "terms=3"),
            'reasoning-gym:chain_sum: has no setting "terms"; it has allow_negation',
        ),
        (("chain_sum", "--task-arg", "max_terms=0"), "reasoning-gym:chain_sum: refuses its settings ("),
        (("chain_sum", "--task-arg", "max_terms"), '--task-arg: "max_terms" is not KEY=VALUE; write --task-arg'),
    ],
)
def test_a_task_that_cannot_be_made_is_named(source, message):
    run = r1kit("data", f"reasoning-gym:{source[0]}", *source[1:])
    assert run.returncode in (1, 2)
    assert run.stderr.startswith(f"r1kit data: error: {message}")
    assert run.stderr.count("\n") == 1


def test_without_reasoning_gym_its_installation_is_named(monkeypatch):
    monkeypatch.setattr("r1kit.reasoning_gym_tasks.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"reasoning-gym is not installed; pip install 'r1kit\[reasoning-gym\]'"):
        next(make_problems("chain_sum", 1, 0, {}))
    problem = {"id": "a", "prompt": "p", "reasoning_gym": {"task": "chain_sum"}}
    with pytest.raises(UserError, match="a: is graded by reasoning-gym, which is not installed"):
        score_task(problem, "1")
    assert task_names() == []
    assert "reasoning-gym" in (Path(__file__).parent.parent / "pyproject.toml").read_text()
