import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.data import read_problems
from r1kit.engines.opening import EngineOptions
from r1kit.errors import UserError
from r1kit.eval_run import EvalPlan, file_name
from r1kit.evaluate import Evaluation, evaluate_files
from r1kit.grader import Grader
from r1kit.jsonl import read_records, to_line
from r1kit.metrics import MEASURED
from r1kit.reward import RewardSummary, complete_rollouts, score_rollouts
from r1kit.rollout import open_policy, sample_rollouts

PROMPTING = {"style": None, "system": None, "prefill": "", "examples": ()}
PROBLEMS = [
    {"id": "a", "prompt": "What is 2 + 3 + 4?", "answer": "9", "language": "en"},
    {"id": "b", "prompt": "2 + 2 + 2 = ?", "answer": "6"},
    {"id": "c", "prompt": "Find 7 - 3.", "answer": "4"},
]
SUM = {"asserts": "assert add(1, 2) == 3"}


@pytest.fixture
def problems(tmp_path):
    return str(write_jsonl(tmp_path / "sums.jsonl", PROBLEMS))


def plan_in(folder, **fields):
    options = EngineOptions("transformers")
    return EvalPlan(folder, options, PROMPTING, **{"samples": 3, "max_tokens": 24, **fields})


def measured(models, sources, plan):
    evaluation = Evaluation(list(map(str, models)), list(map(str, sources)), plan)
    evaluation.prepare()
    return list(evaluation.run()), evaluation


def test_it_is_exactly_data_rollout_reward(tmp_path, problems):
    plan = plan_in(tmp_path / "eval")
    _, evaluation = measured(["base"], [problems], plan)
    [task] = evaluation.tasks
    rollouts = sample_rollouts(task.problems, open_policy("base", plan.options, PROMPTING), plan.rollout_plan(task))
    scored = score_rollouts(rollouts, Grader(MEASURED), RewardSummary())
    assert plan.scored_file("base", task).read_text() == "".join(map(to_line, scored))
    assert list(read_records(str(plan.problems_file(task)))) == [dict(p) for p in task.problems]


def test_saved_rollouts_give_the_same_record_again(tmp_path, problems):
    plan = plan_in(tmp_path / "eval")
    [base, tiny], evaluation = measured(["base", "student"], [problems], plan)
    files = [str(plan.scored_file(model, evaluation.tasks[0])) for model in ("base", "student")]
    assert [row.as_json() for row in evaluate_files(files)] == [base.as_json(), tiny.as_json()]
    assert tiny.as_json()["against"]["model"] == "base"
    row = base.as_json()
    assert (row["problems"], row["samples"], row["seed"], row["temperature"], row["top_p"]) == (3, 3, 0, 0.6, 0.95)
    assert row["grader"].startswith("math-verify")
    assert row["versions"]["r1kit"]
    assert "seconds" not in row  # the same run gives the same bytes
    assert base.seconds > 0


def test_a_second_run_gives_the_same_bytes(tmp_path, problems):
    rows = [measured(["base"], [problems], plan_in(tmp_path / name))[0] for name in ("one", "two")]
    assert rows[0][0].as_json() == rows[1][0].as_json()
    name = f"{file_name(problems)}.jsonl"
    assert (tmp_path / "one/base" / name).read_bytes() == (tmp_path / "two/base" / name).read_bytes()


def test_what_is_there_is_used_or_refused_but_never_lost(tmp_path, problems):
    plan = plan_in(tmp_path / "eval")
    before, evaluation = measured(["base"], [problems], plan)
    path = plan.scored_file("base", evaluation.tasks[0])
    with pytest.raises(UserError, match="is there; say --resume to keep what is whole and go on, --overwrite, or"):
        measured(["base"], [problems], plan)
    changed = path.stat().st_mtime_ns
    again, _ = measured(["base", "student"], [problems], replace(plan, resume=True))
    assert again[0].as_json() == before[0].as_json()
    assert path.stat().st_mtime_ns == changed  # not drawn again
    _, evaluation = measured(["base"], [problems], replace(plan, resume=True, seed=1))
    with pytest.raises(UserError, match="1 of 1 models could not be measured: base"):
        evaluation.check()
    assert path.stat().st_mtime_ns == changed
    with pytest.raises(UserError, match=r"holds other problems than .* has now"):
        measured(["base"], [problems], replace(plan, resume=True, limit=2))
    anew, _ = measured(["base"], [problems], replace(plan, overwrite=True, limit=2))
    assert anew[0].metrics.problems == 2


def test_a_model_that_fails_leaves_the_others_measured(tmp_path, problems, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copytree("r1kit/embedded/base", broken, dirs_exist_ok=True)
    (broken / "model.safetensors").write_bytes(b"torn")
    rows, evaluation = measured(["base", "nowhere", broken, "student"], [problems], plan_in(tmp_path / "eval"))
    assert [row.model for row in rows] == ["base", "student"]
    said = capsys.readouterr().err
    assert said.index("r1kit eval: error: nowhere: no such model folder") < said.index("base on ")  # before any is run
    assert f"r1kit eval: error: {broken}: cannot be loaded (" in said
    with pytest.raises(UserError) as error:
        evaluation.check()
    assert str(error.value).startswith(f"--model: 2 of 4 models could not be measured: nowhere, {broken}; ")


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path, problems, capsys):
    flags = ["--model", "base", "--on", problems, "--samples", "40", "--max-tokens", "48", "--batch-size", "2"]
    command = [sys.executable, "-m", "r1kit", "eval", *flags]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = tmp_path / "eval/base" / f"{file_name(problems)}.jsonl.part"
    while run.poll() is None and not (part.exists() and part.stat().st_size > 1000):
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    done = part.read_bytes().count(b"\n")
    plan = plan_in(tmp_path / "eval", samples=40, max_tokens=48)
    refused = measured(["base"], [problems], plan)[1]
    assert refused.failed == ["base"]
    resumed, _ = measured(["base"], [problems], replace(plan, resume=True))
    said = capsys.readouterr().err
    assert "say --resume to go on with it" in said
    assert f"3 problems, 40 samples each, {done} done" in said
    whole, evaluation = measured(["base"], [problems], replace(plan, folder=tmp_path / "whole"))
    assert resumed[0].as_json() == whole[0].as_json()
    path = evaluation.plan.scored_file("base", evaluation.tasks[0])
    assert part.with_suffix("").read_bytes() == path.read_bytes()


def test_tests_stay_with_the_problems_and_rollouts_can_be_graded_anew(tmp_path):
    rows = [{"id": str(i), "prompt": f"Write add, version {i}.", "tests": SUM, "note": i} for i in range(2)]
    source = write_jsonl(tmp_path / "code.jsonl", rows)
    plan = plan_in(tmp_path / "eval")
    [row], evaluation = measured(["base"], [source], plan)
    path, problems = plan.scored_file("base", evaluation.tasks[0]), plan.problems_file(evaluation.tasks[0])
    scored = list(read_records(str(path)))
    assert row.about["grader"] == "tests"
    assert all("tests" not in rollout and rollout["rewards"]["accuracy"] is not None for rollout in scored)
    again = score_rollouts(complete_rollouts(scored, str(problems)), Grader(MEASURED), RewardSummary())
    assert [r["rewards"] for r in again] == [r["rewards"] for r in scored]
    with pytest.raises(UserError, match=r'the problem "0" is not in .*; give the problems that'):
        list(complete_rollouts(scored, str(write_jsonl(tmp_path / "other.jsonl", [{"id": "9", "prompt": "x"}]))))


def test_a_chat_model_puts_answers_of_mathematics_in_a_box(tmp_path, tiny_model, problems):
    folder = tmp_path / "chat"
    for part in tiny_model:
        part.save_pretrained(folder)
    code = write_jsonl(tmp_path / "code.jsonl", [{"id": "1", "prompt": "Write add.", "tests": SUM}])
    rows, _ = measured([folder, "base"], [problems, code], plan_in(tmp_path / "eval", samples=1, max_tokens=2))
    assert [row.about["prompt_style"] for row in rows] == ["boxed", "chat", "r1-zero", "r1-zero"]
    assert len({row.about["prompt_hash"] for row in rows}) == 4


def test_two_results_never_share_a_file(tmp_path, problems):
    with pytest.raises(UserError, match=r"two results would be .*; name each model and benchmark once"):
        measured(["base", "base"], [problems], plan_in(tmp_path / "eval"))


def test_names_become_file_names():
    assert file_name("Qwen/Qwen3-0.6B") == "Qwen-Qwen3-0.6B"
    assert file_name("../out/zero/") == "out-zero"
    assert file_name("/") == "-"


def test_the_command_writes_records_to_stdout_and_tables_to_stderr(tmp_path):
    run = r1kit("eval", "--model", "base", "--model", "student", "--on", "arith,facts", "--limit", 2, "--samples", 2,
                "--output-dir", tmp_path / "e")  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = lines(run.stdout)
    assert [(row["model"], row["benchmark"]) for row in rows] == [
        ("base", "arith"),
        ("base", "facts"),
        ("student", "arith"),
        ("student", "facts"),
    ]
    assert rows[1]["grader"] == "exact match"
    assert "student on arith, against base: " in run.stderr
    saved = r1kit("eval", tmp_path / "e/base/arith.jsonl", tmp_path / "e/student/arith.jsonl", "--samples", 1)
    assert [row["samples"] for row in lines(saved.stdout)] == [1, 1]


def test_eval_without_anything_to_measure_is_a_usage_error():
    assert r1kit("eval").returncode == 2
    assert r1kit("eval", "--model", "base").returncode == 2


def test_the_first_problems_are_those_of_data(tmp_path):
    _, evaluation = measured(["base"], ["arith"], plan_in(tmp_path, samples=1, limit=2, max_tokens=2))
    assert [dict(p) for p in evaluation.tasks[0].problems] == [dict(p) for p in read_problems("arith", "test")][:2]
