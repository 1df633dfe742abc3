"""Labels of steps by what came of them."""

import pytest
from conftest import lines, r1kit, write_jsonl
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.reject_plan import RejectPlan
from r1kit.reject_sample import RejectRun, RowPlan
from r1kit.step_labels import continued_chains
from r1kit.steps import StepPlan

CHAIN = "<think>one\n\ntwo\n\nthree</think> 3"


def continuation(step, right, number=0, chain="a", **fields):
    own = {"id": f"{chain}/1/{step}", "sample": number, "chain": {"id": chain, "sample": 1, "steps": 3}, "step": step}
    verdict = None if right is None else "correct" if right else "wrong"
    graded = {"reward": float(bool(right)), "verdict": verdict, "finish_reason": "stop", "prompt": "p"}
    return Record({**own, **graded, "completion": CHAIN, "completion_tokens": 9, **fields}, f"f:{step}")


def continuations(first, second, last, chain="a"):
    """Return the continuations of a chain of three steps; first and second: whether each of its own is right."""
    found = [continuation(1, right, number, chain) for number, right in enumerate(first)]
    found += [continuation(2, right, number, chain) for number, right in enumerate(second)]
    return [*found, continuation(3, last, 0, chain)]


def test_a_steps_label_is_the_share_of_its_continuations_that_end_right():
    """Math-Shepherd's equation 4 by hand: 3 of 4, 0 of 4, and the chain itself."""
    rows = continuations([True, True, False, True], [False] * 4, False)
    [found] = continued_chains(rows)
    assert (found["id"], found["sample"], found["step_scores"]) == ("a", 1, [0.75, 0.0, 0.0])
    assert found["completion"] == CHAIN


def test_continuations_that_were_not_judged_or_not_drawn_do_not_count():
    rows = continuations([True, None, False], [True], True)
    rows.insert(0, continuation(1, False, finish_reason="error"))
    assert next(continued_chains(rows))["step_scores"] == [0.5, 1.0, 1.0]
    assert next(continued_chains(continuations([None], [True], True)))["step_scores"] == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Record({"id": "a", "sample": 0}, "f:1")], 'f:1: no "chain" and "step"; run r1kit rollout --from-steps first'),
        (continuations([True], [True], True)[:-1], 'f:1: no rollout of step 3 of "a/1"; give all that r1kit rollout'),
        (continuations([True], [], True), 'f:1: no rollout of step 2 of "a/1"; give all that'),
        (
            [*continuations([True], [True], True), *continuations([], [], True, "b"), continuation(3, True)],
            'no rollout of step 1 of "b/1"',
        ),
        (
            [*continuations([1], [1], 1), *continuations([1], [1], 1, "b"), *continuations([1], [1], 1)],
            'f:1: the continuations of "a/1" do not stand together',
        ),
    ],
)
def test_what_is_no_continuation_or_misses_some_is_named(rows, message):
    with pytest.raises(UserError) as caught:
        list(continued_chains(rows))
    assert message in str(caught.value)


def rows_of(scored, **steps):
    """Return the stepwise rows of all chains, and what was dropped."""
    plan = RejectPlan(keep=None, dedup="none")
    run = RejectRun(plan, RowPlan("steps", steps=StepPlan(**steps)))
    return list(run.records(iter(scored))), run.lines()


def test_rows_are_trls_with_soft_or_hard_labels():
    scored = continuations([True, False], [False, False], False) + continuations([True], [True], True, "b")
    soft, hard = (rows_of(scored, labels=kind)[0] for kind in ("soft", "hard"))
    made = [{name: row[name] for name in ("id", "sample", "prompt", "completions", "labels")} for row in soft]
    steps = {"sample": 1, "prompt": "p", "completions": ["one", "two", "three"]}
    assert made == [{"id": "a", **steps, "labels": [0.5, 0.0, 0.0]}, {"id": "b", **steps, "labels": [1.0, 1.0, 1.0]}]
    assert [row["labels"] for row in hard] == [[True, False, False], [True, True, True]]
    assert all(isinstance(label, bool) for row in hard for label in row["labels"])


def test_a_chain_that_is_cut_otherwise_is_dropped_and_counted():
    rows, told = rows_of(continuations([True], [True], True), labels="soft", separator="o")
    assert rows == []
    assert any("no steps, or not those of step_scores" in line for line in told)


def test_the_command_makes_them_of_a_stream(tmp_path):
    source = write_jsonl(tmp_path / "scored.jsonl", [dict(row) for row in continuations([True, False], [True], True)])
    run = r1kit("reject-sample", "--steps", "--step-labels", "soft", stdin=source.read_text())
    assert [row["labels"] for row in lines(run.stdout)] == [[0.5, 1.0, 1.0]]


def test_labels_of_steps_are_for_stepwise_rows():
    run = CliRunner().invoke(app, ["reject-sample", "--step-labels", "soft"])
    assert isinstance(run.exception, UsageError)
    assert str(run.exception) == "--step-labels: only stepwise rows have them; say --steps"
