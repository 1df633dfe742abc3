import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.steps import StepPlan, cut_completion, labelled_steps

THREE = "<think>one\n\ntwo\n\nthree</think> 3"


def rollout(completion=THREE, verdict="correct", **fields):
    return Record({"completion": completion, "verdict": verdict, **fields}, "f:1")


def test_without_step_scores_every_label_is_the_outcome():
    assert labelled_steps(rollout(), StepPlan()) == (["one", "two", "three"], [True] * 3)
    assert labelled_steps(rollout(verdict="wrong"), StepPlan()) == (["one", "two", "three"], [False] * 3)


def test_step_scores_are_labels_from_the_threshold_on():
    scored = rollout(verdict="wrong", step_scores=[0.9, 0.5, 0.2])
    assert labelled_steps(scored, StepPlan())[1] == [True, True, False]
    assert labelled_steps(scored, StepPlan(threshold=0.6))[1] == [True, False, False]


def test_scores_of_other_steps_give_no_labels():
    assert labelled_steps(rollout(step_scores=[0.9]), StepPlan()) is None
    assert labelled_steps(rollout(step_scores=[]), StepPlan()) is None


def test_no_steps_give_no_labels():
    assert labelled_steps(rollout("<think></think>"), StepPlan()) is None


def test_steps_are_those_that_process_reward_models_and_searches_read():
    assert cut_completion(THREE, None) == ["one", "two", "three"]
    assert cut_completion("<think> 1 + 1 = 2. 2 + 1 = 3. </think> 3", ". ") == ["1 + 1 = 2", "2 + 1 = 3", "</think> 3"]


def test_step_scores_that_are_no_numbers_are_named():
    with pytest.raises(UserError, match='f:1: "step_scores" is no list of numbers; run r1kit reward'):
        labelled_steps(rollout(step_scores="high"), StepPlan())
