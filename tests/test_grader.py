import json
import os
import threading
import time

import pytest
from conftest import r1kit, write_jsonl

from r1kit.errors import UserError
from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.reward_spec import parse_options, parse_rewards

FUNCTION = "```python\ndef f(x):\n    return x + 1\n```"
TESTS = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [2, 3]}


def rollout(place="f:1", **fields):
    return Record({"id": "1", "completion": "<think>a</think><answer>7</answer>", "answer": "7", **fields}, place)


def code(completion=FUNCTION, **fields):
    return Record({"id": "c", "kind": "code", "tests": TESTS, "completion": completion, **fields}, "f:9")


def grade(rewards, *rollouts, args=(), **options):
    parts = parse_rewards(rewards)
    grader = Grader(parts, parse_options(args, parts), **options)
    try:
        return list(grader.grade(rollouts))
    finally:
        grader.close()


def test_what_was_not_drawn_is_not_graded(tiny_model, tmp_path):
    from test_reward_model import classifier

    classifier(tiny_model, tmp_path)
    parts = parse_rewards(f"accuracy,format:0.2,model:{tmp_path}")
    fields = {"id": "1", "prompt": "p", "answer": "7", "completion": "", "finish_reason": "error"}
    [graded] = Grader(parts).grade([Record({**fields, "completion_tokens": 0}, "f:1")])
    assert set(graded.record["rewards"].values()) == {None}
    assert (graded.record["reward"], graded.record["verdict"]) == (None, None)
    assert set(graded.reasons.values()) == {"there is no completion (finish_reason error)"}


def test_the_reward_is_the_weighted_sum():
    (graded,) = grade("accuracy,format:0.2", rollout())
    assert graded.record["rewards"] == {"accuracy": 1.0, "format": 1.0}
    assert (graded.record["reward"], graded.record["extracted"], graded.record["verdict"]) == (1.2, "7", "correct")


def test_what_cannot_be_graded_is_null_with_its_reason_and_left_out_of_the_sum():
    unread, none, bad_tests = grade(
        "accuracy,format:0.2",
        rollout(answer="nobody knows"),
        rollout(answer=None),
        code(tests={"inputs": ["1"], "outputs": []}),
    )
    assert (unread.record["rewards"]["accuracy"], unread.record["reward"]) == (None, 0.2)
    assert unread.reasons == {"accuracy": "the gold answer cannot be read"}
    assert none.reasons == {"accuracy": "no gold answer"}
    assert bad_tests.record["rewards"]["accuracy"] is None
    assert bad_tests.reasons == {"accuracy": "tests holds 1 inputs and 0 outputs"}


def test_all_null_sum_to_null():
    (graded,) = grade("accuracy", rollout(answer=None))
    assert graded.record["reward"] is None


@pytest.mark.parametrize(
    "completion",
    [
        "I would rather not say",  # an extracted list that is never empty would be full marks
        "<answer>7</answer> or rather <answer>8</answer>",  # the last counts
        "<think>7</think> I do not know",
        "<answer></answer> 7",
        "7 is not it, 8 is",
        "9**9**9**9",
        "",
    ],
)
def test_what_does_not_state_the_answer_earns_nothing(completion, monkeypatch):
    monkeypatch.setattr("r1kit.workers.SECONDS", 1.0)
    assert grade("accuracy", rollout(completion=completion))[0].record["reward"] == 0.0


def test_code_is_graded_by_its_tests():
    right, wrong, none = grade("accuracy", code(), code(FUNCTION.replace("+ 1", "* 2")), code("no block"))
    assert (right.record["verdict"], right.record["rewards"], right.record["passed"]) == (
        "correct",
        {"accuracy": 1.0},
        1,
    )
    assert (wrong.record["verdict"], wrong.record["reward"]) == ("wrong", 0.0)
    assert wrong.outcome.reason == "f(2) gives 4, not 3"
    assert (none.record["verdict"], none.record["reward"], none.record["extracted"]) == ("no_answer", 0.0, None)


def test_the_program_stands_after_the_reasoning():
    wrong_then_right = f"<think>\n{FUNCTION.replace('+ 1', '* 2')}\n</think>\n{FUNCTION}"
    assert grade("accuracy", code(wrong_then_right))[0].record["reward"] == 1.0
    only_in_the_reasoning = f"<think>\n{FUNCTION}\n</think>\nas above"
    assert grade("accuracy", code(only_in_the_reasoning))[0].record["verdict"] == "no_answer"


def test_partial_credit_is_the_share_of_tests():
    half = code(FUNCTION.replace("x + 1", "2"))
    assert grade("accuracy", half, args=["accuracy.partial=true"])[0].record["reward"] == 0.5
    assert grade("accuracy", half)[0].record["reward"] == 0.0


def test_programs_do_not_run_where_no_reward_asks_for_it():
    (graded,) = grade("format", code())
    assert (graded.record["verdict"], graded.record["extracted"]) == (None, "def f(x):\n    return x + 1\n")


def test_each_kind_gets_what_fits_it():
    math, program, general = grade(
        "math=accuracy,format:0.5 code=accuracy:2", rollout(), code(), rollout(kind="general", answer="Paris")
    )
    assert (math.record["rewards"], math.record["reward"]) == ({"accuracy": 1.0, "format": 1.0}, 1.5)
    assert (program.record["rewards"], program.record["reward"]) == ({"accuracy": 1.0}, 2.0)
    assert (general.record["rewards"], general.record["reward"]) == ({}, None)


def test_the_language_and_the_length_of_a_rollout_are_read_from_it():
    (graded,) = grade(
        "language,length,overlong",
        rollout(completion="<think>wir addieren beide Zahlen</think> 7", language="de", completion_tokens=10),
        args=["length.max_tokens=20", "overlong.max_tokens=20", "overlong.buffer=20"],
    )
    assert graded.record["rewards"] == {"language": 1.0, "length": pytest.approx(1.5), "overlong": -0.5}


def test_your_own_function_gets_the_fields_that_it_names(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def near(completion, answer, *, scale=1):\n    return scale * (answer in completion)\n")
    (graded,) = grade(f"{file}:near:0.5", rollout(), args=[f"{file}.scale=4"])
    assert (graded.record["rewards"], graded.record["reward"]) == ({f"{file}:near": 4.0}, 2.0)
    with pytest.raises(UserError, match=r'f:3: no "answer"; the reward .*near asks for it'):
        grade(f"{file}:near", Record({"id": "1", "completion": ""}, "f:3"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"f:1: the reward .*:f raised KeyError: 'x' \(.*mine.py:2\); mend the record"),
        ("return 'high'", "f:1: the reward .*:f returned 'high'; return a number or None"),
        ("return float('nan')", "returned nan"),
    ],
)
def test_a_function_that_fails_stops_the_run_and_names_the_record(tmp_path, body, message):
    file = tmp_path / "mine.py"
    file.write_text(f"def f(completion):\n    {body}\n")
    with pytest.raises(UserError, match=message):
        grade(f"{file}:f", rollout())


def test_an_unknown_language_names_the_record():
    with pytest.raises(UserError, match='f:1: the reward language raised ValueError: unknown language "xx"'):
        grade("language", rollout(language="xx"))


def test_a_rollout_without_what_is_needed_is_named():
    with pytest.raises(UserError, match='f:1: no "completion"; run r1kit rollout first'):
        grade("format", Record({"id": "1"}, "f:1"))
    with pytest.raises(UserError, match='f:1: no "completion_tokens"; run r1kit rollout first'):
        grade("overlong", rollout(), args=["overlong.max_tokens=5"])


def test_order_holds_while_a_slow_one_is_graded(tmp_path):
    file = tmp_path / "slow.py"
    file.write_text("import time\ndef f(completion):\n    time.sleep(0.2 * (completion == '0'))\n    return 1\n")
    graded = grade(f"{file}:f", *(rollout(id=str(i), completion=str(i)) for i in range(20)), workers=4)
    assert [g.record["id"] for g in graded] == [str(i) for i in range(20)]


CASES = [
    rollout(answer=gold, completion=answer)
    for gold, answer in [("1/2", "0.5"), ("$x+1$", "$1+x$"), ("14", "15"), ("7", "it is 7."), ("$[0,1)$", "$[0,1)$")]
] + [code(), code(FUNCTION.replace("+ 1", "* 2"))]


def verdicts():
    return [graded.record["verdict"] for graded in grade("accuracy", *CASES)]


def test_a_thread_and_a_forked_process_give_the_same_verdicts():
    expected = verdicts()
    assert set(expected) == {"correct", "wrong"}
    found = []
    thread = threading.Thread(target=lambda: found.append(verdicts()))
    thread.start()
    thread.join()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(verdicts()).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert found == [expected]
    assert json.loads(os.read(read, 1 << 16)) == expected


def test_results_leave_while_the_input_is_open():
    parts = parse_rewards("format")
    more = threading.Event()

    def rollouts():
        yield rollout(id="first")
        more.wait(30)
        yield rollout(id="last")

    stream = Grader(parts).grade(rollouts())
    assert next(stream).record["id"] == "first"
    more.set()
    assert [graded.record["id"] for graded in stream] == ["last"]


def test_a_reward_model_and_a_process_reward_model_join_the_sum(tmp_path, tiny_model):
    from transformers import LlamaForSequenceClassification, LlamaForTokenClassification

    model, tokenizer = tiny_model
    for cls, labels in ((LlamaForSequenceClassification, 1), (LlamaForTokenClassification, 2)):
        config = model.config.__class__(**{**model.config.to_dict(), "num_labels": labels})
        folder = tmp_path / str(labels)
        cls(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    rewards = f"accuracy,model:{tmp_path / '1'}:0.5,process:{tmp_path / '2'}"
    texts = ["<think>a\n\nb</think><answer>7</answer>", "<think>longer, a step</think><answer>8</answer>"]
    graded = grade(rewards, *(rollout(prompt="1 + 6?", completion=text) for text in texts))
    first = graded[0].record
    model_score, step_score = first["rewards"][f"model:{tmp_path / '1'}"], first["rewards"][f"process:{tmp_path / '2'}"]
    assert first["reward"] == pytest.approx(1.0 + 0.5 * model_score + step_score)
    assert len(first["step_scores"]) == 2
    assert step_score == min(first["step_scores"])
    assert grade(rewards, rollout(prompt="1 + 6?", completion=texts[1]))[0].record["rewards"] == pytest.approx(
        graded[1].record["rewards"], abs=1e-5
    )


def test_several_models_are_combined_by_weight_each_reading_its_own_part(tmp_path, tiny_model):
    """As R1 has it: helpfulness by the final summary, harmlessness by all of the answer."""
    from test_reward_model import classifier

    from r1kit.rewards.model import RewardModel

    for name in ("help", "harm.v2"):
        classifier(tiny_model, tmp_path / name)
    helpful, harmless = (f"model:{tmp_path / name}" for name in ("help", "harm.v2"))
    record = rollout(prompt="1 + 6?", kind="general", completion="<think>a b c</think><answer>7</answer>")
    (graded,) = grade(f"general={helpful}:0.5,{harmless}:2", record, args=[f"{helpful}.text=final"])
    rewards = graded.record["rewards"]
    assert graded.record["reward"] == 0.5 * rewards[helpful] + 2 * rewards[harmless]
    assert [rewards[helpful]] == RewardModel(str(tmp_path / "help"), text="final").scores([record])
    assert [rewards[harmless]] == RewardModel(str(tmp_path / "harm.v2"), text="whole").scores([record])
    assert rewards[helpful] != rewards[harmless]  # the weights of both are the same
    (other,) = grade(f"{helpful},{harmless}", record, args=["model.text=final", f"{harmless}.text=whole"])
    assert other.record["rewards"] == rewards


def test_a_model_of_two_kinds_is_loaded_once(tmp_path, tiny_model):
    from test_reward_model import classifier

    classifier(tiny_model, tmp_path)
    first, second = Grader(parse_rewards(f"math=model:{tmp_path} general=model:{tmp_path}:2")).models.values()
    assert first is second


def test_code_is_refused_where_it_cannot_be_walled_in_unless_that_is_said(tmp_path):
    path = write_jsonl(tmp_path / "r.jsonl", [dict(code())])
    refused = r1kit("reward", path, "--reward", "accuracy", "--sandbox", "bubblewrap", env={"PATH": ""})
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "r1kit reward: error: code: sandbox bubblewrap: bwrap is not installed; install the package bubblewrap, allow "
        "user namespaces, or say --sandbox none to run without walls\n"
    )
    done = r1kit("reward", path, "--reward", "accuracy", "--sandbox", "none", env={"PATH": ""})
    assert json.loads(done.stdout)["verdict"] == "correct"
    assert "programs ran without walls" in done.stderr


def test_a_judge_that_cannot_be_reached_is_one_line(tmp_path):
    path = write_jsonl(tmp_path / "r.jsonl", [dict(rollout(prompt="?"))])
    started = time.monotonic()
    run = r1kit("reward", path, "--reward", "judge", "--reward-arg", "judge.url=http://127.0.0.1:9/v1")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "http://127.0.0.1:9/v1: cannot be reached" in run.stderr
    assert time.monotonic() - started < 60
