import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.engines import Sampling
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.rollout import RolloutPlan, sample_rollouts


def problems(count):
    return [
        Record({"id": str(i), "prompt": f"{i} + 1 = ?", "answer": str(i + 1), "x": i}, f"f:{i + 1}")
        for i in range(count)
    ]


def sample(tiny_model, rows, **plan):
    return list(sample_rollouts(rows, *tiny_model, "raw", RolloutPlan(**{"sampling": Sampling(max_tokens=8), **plan})))


def test_a_rollout_is_its_problem_and_one_completion(tiny_model):
    rollouts = sample(tiny_model, problems(3), n=2)
    assert [(r["id"], r["sample"], r["x"]) for r in rollouts] == [(str(i), s, i) for i in range(3) for s in range(2)]
    assert all(r["completion_tokens"] <= 8 and r["prompt_tokens"] > 0 and "logprobs" not in r for r in rollouts)


def test_batch_size_and_order_change_nothing(tiny_model):
    one = sample(tiny_model, problems(7), n=3, batch_size=64)
    assert sample(tiny_model, problems(7), n=3, batch_size=1) == one
    backwards = sample(tiny_model, problems(7)[::-1], n=3, batch_size=4)
    assert sorted(backwards, key=lambda r: (r["id"], r["sample"])) == one


def test_log_probabilities_are_added_on_demand(tiny_model):
    [rollout] = sample(tiny_model, problems(1), with_logprobs=True)
    assert len(rollout["logprobs"]) == rollout["completion_tokens"]
    assert all(value <= 0 for value in rollout["logprobs"])


def test_the_problems_of_one_batch_are_read_ahead_and_no_more(tiny_model):
    def stream():
        yield from problems(4)
        raise AssertionError("read too far")

    plan = RolloutPlan(n=2, sampling=Sampling(max_tokens=4), batch_size=8)
    assert next(sample_rollouts(stream(), *tiny_model, "raw", plan))["id"] == "0"


def test_the_same_id_twice_is_refused(tiny_model):
    with pytest.raises(UserError, match='f:1: the id "0" stands twice'):
        sample(tiny_model, problems(2) + problems(1))


def test_a_prompt_past_the_models_window_is_named(tiny_model):
    with pytest.raises(UserError, match=r"f:1: \d+ prompt tokens and --max-tokens 300 pass the model's 256"):
        sample(tiny_model, problems(1), sampling=Sampling(max_tokens=300))
    with pytest.raises(UserError, match="f:1: the prompt is empty"):
        sample(tiny_model, [Record({"id": "1", "prompt": ""}, "f:1")])


def test_two_runs_give_the_same_bytes(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", [dict(p) for p in problems(5)])
    runs = [r1kit("rollout", "--model", "base", "-n", 4, "--max-tokens", 32, source) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(lines(runs[0].stdout)) == 20
    assert len({r["completion"] for r in lines(runs[0].stdout)}) > 5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere", "nowhere: no such model folder"),
        ("EMPTY", "no config.json, so no whole model"),
        ("NO-WEIGHTS", r"no *.safetensors"),
    ],
)
def test_a_model_that_is_none_is_named(tmp_path, model, message):
    for name in ("EMPTY", "NO-WEIGHTS"):
        (tmp_path / name).mkdir()
    (tmp_path / "NO-WEIGHTS" / "config.json").write_text("{}")
    run = r1kit("rollout", "--model", model, stdin='{"prompt": "p"}\n', cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("r1kit rollout: error: ")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
