"""Problems of a kind that waits are drawn in the last steps alone, in an order that a resumed run has too."""

from dataclasses import replace

import pytest
import torch
from conftest import r1kit, write_jsonl
from test_grpo_plan import PLAN
from transformers import TrainerCallback

from r1kit.data import read_problem_list
from r1kit.errors import UsageError, UserError
from r1kit.grader import Grader
from r1kit.grpo import new_trainer
from r1kit.grpo_plan import GrpoPlan
from r1kit.jsonl import Record
from r1kit.last_steps import WaitingKinds, check_last_steps, parse_last_steps
from r1kit.model import load_model
from r1kit.reward_spec import parse_rewards

KINDS = ["math"] * 5 + ["code"] * 3 + ["general"] * 4


def test_steps_are_read_by_kind():
    assert parse_last_steps([], 10) == {}
    assert parse_last_steps(["general:4", "code:10"], 10) == {"general": 4, "code": 10}
    assert parse_last_steps(["general:4,code:2"], 10) == {"general": 4, "code": 2}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("general", '--last-steps: "general" is not KIND:N; write general:400, for instance'),
        ("general:", '--last-steps: "general:" is not KIND:N; write general:400, for instance'),
        ("general:0", '--last-steps: "general:0" is not KIND:N; write general:400, for instance'),
        ("general:-3", '--last-steps: "general:-3" is not KIND:N; write general:400, for instance'),
        ("general:1.5", '--last-steps: "general:1.5" is not KIND:N; write general:400, for instance'),
        ("chat:5", '--last-steps: unknown kind "chat"; the known ones are math, code, general'),
        ("general:11", "--last-steps: general:11 is more than the 10 steps of the run; say general:10 or fewer"),
        ("code:2 code:3", '--last-steps: "code" stands twice; say each kind once'),
    ],
)
def test_bad_words_are_one_line(word, message):
    with pytest.raises(UsageError) as caught:
        parse_last_steps([word], 10)
    assert str(caught.value) == message


def test_what_cannot_be_drawn_is_refused():
    problems = [Record({"prompt": "?", "kind": kind}, "f:1") for kind in ("math", "general")]
    check_last_steps(problems, {"general": 4}, 10)
    check_last_steps(problems[1:], {"general": 10}, 10)  # which is the whole run
    with pytest.raises(UserError, match="--last-steps: no problem is of the kind code; leave it out"):
        check_last_steps(problems, {"code": 4}, 10)
    with pytest.raises(UserError, match="all problems wait, so that there is none for the first 4 steps"):
        check_last_steps(problems, {"general": 4, "math": 6}, 10)


def test_each_kind_is_drawn_from_its_own_step_on():
    waiting = WaitingKinds(KINDS, {"general": 3, "code": 6}, 10, 0)
    assert [waiting.drawn_at(step) for step in (0, 3)] == [[0, 1, 2, 3, 4]] * 2
    assert [waiting.drawn_at(step) for step in (4, 6)] == [[0, 1, 2, 3, 4, 5, 6, 7]] * 2
    assert [waiting.drawn_at(step) for step in (7, 9)] == [None] * 2


def test_each_round_has_all_problems_once_in_another_order():
    waiting = WaitingKinds(KINDS, {"general": 3}, 10, 0)
    drawn = waiting.drawn_at(0)
    rounds = [[waiting.at_place(drawn, place) for place in range(top, top + 8)] for top in (0, 8, 16)]
    assert all(sorted(order) == drawn for order in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert [waiting.at_place(drawn, place, shuffled=False) for place in range(10)] == [*drawn, 0, 1]
    assert [WaitingKinds(KINDS, {"general": 3}, 10, 1).at_place(drawn, place) for place in range(8)] != rounds[0]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Return a function that trains the base on six math problems and six general ones, or goes on with such a run.

    It gives the ids of the problems of each step, and the weights.
    """
    data = tmp_path_factory.mktemp("data")
    math = [{"id": f"m{i}", "prompt": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(6)]
    general = [{"id": f"g{i}", "prompt": f"Say {i}.", "answer": str(i), "kind": "general"} for i in range(6)]
    problems = read_problem_list(str(write_jsonl(data / "problems.jsonl", math + general)), "train")
    rewards = parse_rewards("math=accuracy,repetition:0.1 general=repetition,accuracy:0")

    def run(folder, resume=None, settings=(), **fields):
        plan = GrpoPlan(
            model="base", rewards=rewards, steps=6, n=4, batch_size=16, micro_batch_size=16, learning_rate=1e-3,
            temperature=1.0, max_tokens=8, seed=0, dtype="float32", style="r1-zero", eval_samples=1, save_every=2,
            samples_every=1, settings={"save_total_limit": 9, **dict(settings)}, **fields,
        )  # fmt: skip
        model, tokenizer = load_model("base")
        trainer, rollouts = new_trainer(model, tokenizer, problems, Grader(rewards), "r1-zero", plan, data / folder)
        steps = Steps(rollouts)
        trainer.add_callback(steps)
        trainer.train(resume_from_checkpoint=resume and str(data / folder / "checkpoints" / resume))
        return steps.ids, [weights.clone() for weights in trainer.model.parameters()]

    return run


class Steps(TrainerCallback):
    """The ids of the problems of each step."""

    def __init__(self, rollouts):
        self.rollouts, self.ids = rollouts, {}

    def on_step_end(self, args, state, control, **_):
        self.ids[state.global_step] = [scored["id"] for scored in self.rollouts.last[::4]]


@pytest.fixture(scope="module")
def whole_run(train):
    return train("run", last_steps={"general": 3}, dynamic_sampling=2)


def test_a_run_draws_them_in_its_last_steps_alone(whole_run):
    """Also where it draws groups anew."""
    kinds = [{name[0] for name in names} for names in whole_run[0].values()]
    assert kinds[:3] == [{"m"}] * 3
    assert set.union(*kinds[3:]) == {"m", "g"}
    assert all(len(names) == 4 for names in whole_run[0].values())


@pytest.mark.parametrize("checkpoint", [2, 4])
def test_a_run_that_goes_on_is_the_one_that_was_never_stopped(train, whole_run, checkpoint):
    ids, weights = train("run", f"checkpoint-{checkpoint}", last_steps={"general": 3}, dynamic_sampling=2)
    assert ids == {step: names for step, names in whole_run[0].items() if step > checkpoint}
    assert all(map(torch.equal, weights, whole_run[1]))


def test_without_them_all_are_drawn_from_the_first_step_on(train):
    ids, _ = train("all")
    assert {name[0] for names in list(ids.values())[:3] for name in names} == {"m", "g"}


def test_a_run_of_several_updates_a_batch_has_them_in_its_last_steps_alone(train):
    """Batches are of two steps; the one that begins before the last three has none."""
    ids, _ = train("updates", last_steps={"general": 3}, settings={"num_iterations": 2})
    kinds = [{name[0] for name in names} for names in ids.values()]
    assert kinds[:4] == [{"m"}] * 4
    assert "g" in kinds[4]


def test_a_run_that_is_made_longer_keeps_their_first_step():
    def first_steps(**fields):
        return replace(PLAN, **fields).as_json([]).get("first_steps")

    assert first_steps(steps=10) is None
    assert first_steps(steps=10, last_steps={"general": 3}) == {"general": 8}
    assert first_steps(steps=20, last_steps={"general": 13}) == {"general": 8}


@pytest.mark.slow
def test_the_command_takes_it(tmp_path):
    run = r1kit("grpo", "facts", "--model", "base", "--steps", 5, "--last-steps", "general:6")
    error = "r1kit grpo: error: --last-steps: general:6 is more than the 5 steps of the run; say general:5 or fewer\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", error)
    run = r1kit("grpo", "facts", "--model", "base", "--steps", 5, "--last-steps", "general:4", "-o", tmp_path / "run")
    error = "--last-steps: all problems wait, so that there is none for the first 1 steps"
    assert (run.returncode, run.stdout, error in run.stderr) == (1, "", True)
