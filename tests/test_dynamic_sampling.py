"""Groups without signal are replaced before the update, boundedly, by the problems of the run."""

import pytest
from conftest import write_jsonl

from r1kit.data import read_problem_list
from r1kit.grader import Grader
from r1kit.grpo import new_trainer
from r1kit.grpo_plan import GrpoPlan
from r1kit.model import load_model
from r1kit.reward_spec import parse_rewards


@pytest.fixture
def run(tmp_path):
    """Return a function that trains the base on 24 problems, and gives trainer and grader back."""
    function = tmp_path / "own.py"
    rows = [{"id": f"p{i}", "prompt": f"What is {i} + 2?", "answer": str(i)} for i in range(24)]
    problems = read_problem_list(str(write_jsonl(tmp_path / "problems.jsonl", rows)), "train")

    def train(reward, steps=1, **fields):
        function.write_text(f"def own(id, sample, completion):\n    return {reward}\n")
        rewards = parse_rewards(f"{function}:own")
        plan = GrpoPlan(
            model="base", rewards=rewards, steps=steps, n=4, batch_size=16, micro_batch_size=16, learning_rate=1e-3,
            temperature=1.0, max_tokens=8, seed=0, dtype="float32", style="r1-zero", eval_samples=1, save_every=100,
            samples_every=1, **fields,
        )  # fmt: skip
        model, tokenizer = load_model("base")
        grader = Grader(rewards)
        trainer, rollouts = new_trainer(model, tokenizer, problems, grader, "r1-zero", plan, tmp_path / "run")
        trainer.train()
        return trainer, rollouts

    return train


def groups_of(rollouts):
    return [rollouts.last[top : top + 4] for top in range(0, 16, 4)]


ODD = "sample % 2 if int(id[1:]) % 2 else 1.0"  # problems with an even number have no signal


def test_groups_without_signal_are_replaced_by_other_problems(run):
    trainer, rollouts = run(ODD, dynamic_sampling=10)
    groups = groups_of(rollouts)
    ids = [group[0]["id"] for group in groups]
    assert all(int(name[1:]) % 2 for name in ids)
    assert len(set(ids)) == 4
    assert all([scored["sample"] for scored in group] == [0, 1, 2, 3] for group in groups)
    assert all(scored["id"] == group[0]["id"] for group in groups for scored in group)
    line = trainer.state.log_history[0]
    assert line["rows/trained"] == 1
    assert line["resampled"] >= 1


def test_without_it_they_stay_and_are_not_trained_on(run):
    trainer, rollouts = run(ODD)
    level = sum(not int(group[0]["id"][1:]) % 2 for group in groups_of(rollouts))
    assert level > 0
    assert trainer.state.log_history[0]["rows/trained"] == (4 - level) / 4
    assert "resampled" not in trainer.state.log_history[0]


def test_replacing_is_bounded(run):
    trainer, _ = run("1.0", dynamic_sampling=3)
    assert trainer.state.log_history[0]["resampled"] == 12
    assert trainer.state.log_history[0]["rows/trained"] == 0
    assert trainer.state.log_history[0]["entropy"] > 0
    assert trainer.state.log_history[0]["grad_norm"] == 0


def test_rewards_that_differ_by_rounding_are_no_signal(run):
    trainer, _ = run("1.2 + 1e-9 * sample", dynamic_sampling=1)
    assert trainer.state.log_history[0]["resampled"] == 4
    assert trainer.state.log_history[0]["grad_norm"] == 0


def test_what_cannot_be_graded_is_no_signal_and_no_error(run):
    trainer, _ = run("None if int(id[1:]) % 2 else float(sample)", dynamic_sampling=10)
    assert trainer.state.log_history[0]["rows/trained"] == 1


def test_the_same_seed_replaces_by_the_same(run):
    first = [scored["completion"] for scored in run(ODD, steps=2, dynamic_sampling=2)[1].last]
    again = [scored["completion"] for scored in run(ODD, steps=2, dynamic_sampling=2)[1].last]
    assert first == again


@pytest.mark.parametrize("without", [["overlap"], ["engine"]])
def test_it_works_without_the_speed_ups(run, without):
    _, rollouts = run(ODD, dynamic_sampling=10, without=without)
    assert all(int(group[0]["id"][1:]) % 2 for group in groups_of(rollouts))
