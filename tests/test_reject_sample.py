import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from io import StringIO

import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.cli import app
from r1kit.errors import UsageError, UserError

GOOD = "<think>{0} plus {1} makes {2}, as every child knows.</think> <answer>{2}</answer>"


def scored(name, *rewards, **fields):
    """Return the scored rollouts of a problem, one of each reward; right is what has at least 1."""
    return [
        {"id": name, "prompt": f"What is {name}?", "answer": "1", "language": "en", "sample": sample,
         "completion": GOOD.format(name, sample, sample), "finish_reason": "stop", "prompt_tokens": 3,
         "completion_tokens": 10 + sample, "rewards": {"accuracy": float(reward >= 1)}, "reward": reward,
         "extracted": "1", "verdict": "correct" if reward >= 1 else "wrong", **fields}
        for sample, reward in enumerate(rewards)
    ]  # fmt: skip


def reject(tmp_path, rows, *flags):
    """Return the rows that the command makes of scored rollouts, and its report."""
    path, output = write_jsonl(tmp_path / "scored.jsonl", rows), tmp_path / "out.jsonl"
    with redirect_stderr(StringIO()) as report:
        arguments = ["reject-sample", path, "-o", output, "--overwrite", *flags]
        app(args=list(map(str, arguments)), standalone_mode=False)
    return lines(output.read_text()), report.getvalue().splitlines()


def kept(tmp_path, rows, *flags):
    return [(row["id"], row["sample"]) for row in reject(tmp_path, rows, *flags)[0]]


def dropped(report, name):
    """Return how many rollouts a filter dropped, and how many problems it lost."""
    return next(tuple(line.split()[:2]) for line in report if line.endswith(f"  {name}"))


ROWS = [*scored("a", 0, 1, 1.2, 1.2), *scored("b", 0, 0.2), *scored("c", 1, 1)]


def test_the_best_of_each_problem_that_has_a_right_one_is_kept(tmp_path):
    rows, report = reject(tmp_path, ROWS)
    assert [(row["id"], row["sample"], row["reward"]) for row in rows] == [("a", 2, 1.2), ("c", 0, 1.0)]
    assert report == [
        "3 problems, 8 rollouts, mean length 11.0 tokens",
        "  dropped  problems lost",
        "        3              1  not correct",
        "        3              –  not chosen: enough are kept",
        "  kept: 2 rows of 2 problems (66.7%), mean length 11.0 tokens",
        "  <think>…</think> and then text: 2 of 2 rows",
    ]


def test_more_or_all_are_kept_in_the_order_of_the_selection(tmp_path):
    assert kept(tmp_path, ROWS, "--keep", 2) == [("a", 2), ("a", 3), ("c", 0), ("c", 1)]
    assert kept(tmp_path, ROWS, "--keep", "all") == [("a", 2), ("a", 3), ("a", 1), ("c", 0), ("c", 1)]
    assert kept(tmp_path, ROWS, "--keep", 2, "--select", "longest") == [("a", 3), ("a", 2), ("c", 1), ("c", 0)]


def test_a_threshold_takes_the_place_of_correct(tmp_path):
    assert kept(tmp_path, ROWS, "--threshold", "0.2") == [("a", 2), ("b", 1), ("c", 0)]
    assert kept(tmp_path, ROWS, "--threshold", "correct,1.2") == [("a", 2)]


def test_what_cannot_be_graded_is_never_kept_and_counted(tmp_path):
    rows = scored("a", 1.2, 1.2) + scored("b", 1.2)
    rows[0] |= {"reward": None, "rewards": {"accuracy": None}, "verdict": None}
    rows[2] |= {"rewards": {"format": 1.0}, "verdict": None}
    examples, report = reject(tmp_path, rows)
    assert [(row["id"], row["sample"]) for row in examples] == [("a", 1)]
    assert dropped(report, "reward is null") == ("1", "0")
    assert dropped(report, "not judged (no verdict)") == ("1", "1")
    assert kept(tmp_path, rows, "--threshold", "1") == [("a", 1), ("b", 0)]


def test_what_was_cut_off_or_failed_is_dropped(tmp_path):
    rows = scored("a", 1, 1, 1)
    rows[0]["finish_reason"] = "length"
    rows[1] |= {"finish_reason": "error", "completion": None}
    examples, report = reject(tmp_path, rows)
    assert [row["sample"] for row in examples] == [2]
    assert dropped(report, "cut off at the length limit") == dropped(report, "ended in an error") == ("1", "0")
    assert kept(tmp_path, rows, "--truncated") == [("a", 0)]


def test_problems_are_kept_by_their_pass_rate(tmp_path):
    examples, report = reject(tmp_path, ROWS, "--pass-rate", "0.1:0.9")
    assert [row["id"] for row in examples] == ["a"]
    assert dropped(report, "pass rate outside 0.1:0.9") == ("4", "2")


def test_lengths_are_in_tokens(tmp_path):
    assert kept(tmp_path, ROWS, "--keep", "all", "--min-tokens", 11, "--max-tokens", 12) == [
        ("a", 2), ("a", 1), ("c", 1),
    ]  # fmt: skip


PROSE = {
    "mixed languages": "<think>We add the two, 然后我们再减去另外一个数字就得到答案。</think> 1",
    "paragraph of more than 300 words": f"<think>{'So then we add. ' * 80}</think> 1",
    "code block in the reasoning": "<think>Let me see:\n```python\nprint(1)\n```\n</think> 1",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_that_r1_dropped_is_dropped_unless_the_filters_are_off(tmp_path, name):
    rows = scored("a", 1.2, 1)
    rows[0]["completion"] = PROSE[name]
    examples, report = reject(tmp_path, rows)
    assert [row["sample"] for row in examples] == [1]
    assert dropped(report, name) == ("1", "0")
    assert kept(tmp_path, rows, "--no-r1-filters") == [("a", 0)]
    off = ("--mixed-language", 0, "--max-paragraph", 0, "--code-blocks")
    assert kept(tmp_path, rows, *off) == [("a", 0)]


def test_a_filter_can_be_set_while_the_others_are_off(tmp_path):
    rows = scored("a", 1.2, 1)
    rows[1]["completion"] = PROSE["code block in the reasoning"]
    assert kept(tmp_path, rows, "--no-r1-filters", "--max-paragraph", 6) == [("a", 1)]


def test_repetition_is_dropped_where_it_is_asked_for(tmp_path):
    rows = scored("a", 1.2, 1)
    rows[0]["completion"] = f"<think>{'one two three four five six seven eight nine ten. ' * 10}</think> 1"
    assert kept(tmp_path, rows) == [("a", 0)]
    assert kept(tmp_path, rows, "--max-repetition", 0.5) == [("a", 1)]


def test_a_chain_of_thought_is_kept_once_for_a_prompt(tmp_path):
    same = {"completion": "<think>It is one.</think> 1", "prompt": "What is it?"}
    rows = [*scored("a", 1, 1, **same), *scored("b", 1, **same), *scored("c", 1, **{**same, "prompt": "And that?"})]
    rows[1]["completion"] = "<think> it is one </think> 1."  # the same but for case, blanks and full stops
    examples, report = reject(tmp_path, rows, "--keep", "all")
    assert [row["id"] for row in examples] == ["a", "c"]
    assert dropped(report, "chain of thought seen before") == ("2", "1")
    assert kept(tmp_path, rows, "--keep", "all", "--dedup", "all") == [("a", 0)]
    assert len(kept(tmp_path, rows, "--keep", "all", "--dedup", "none")) == 4


def test_rows_of_a_prompt_under_several_ids_are_limited(tmp_path):
    rows = [*scored("a", 1, 1, prompt="Same?"), *scored("b", 1, 1, prompt="same"), *scored("c", 1)]
    examples, report = reject(tmp_path, rows, "--keep", "all", "--max-per-problem", 3)
    assert [(row["id"], row["sample"]) for row in examples] == [("a", 0), ("a", 1), ("b", 0), ("c", 0)]
    assert dropped(report, "the prompt has its 3 rows") == ("1", "0")


def test_all_rollouts_are_accounted_for(tmp_path):
    rows = [*ROWS, *scored("d", 1, 1, 1, completion=PROSE["mixed languages"])]
    for flags in ((), ("--keep", 3), ("--dedup", "none"), ("--pairs",), ("--steps", "--keep", 2)):
        examples, report = reject(tmp_path, rows, *flags)
        table = [line.split()[0] for line in report[2:] if line.startswith("      ")]
        assert sum(map(int, table)) + len(examples) == len(rows), report


def test_prompt_and_completion_are_as_they_were_sampled(tmp_path):
    rows = scored("a", 1, completion=" <think> one </think> 1\n")
    [row], _ = reject(tmp_path, rows, "--format", "prompt-completion")
    assert (row["prompt"], row["completion"]) == ("What is a?", " <think> one </think> 1\n")


def test_other_examples_are_mixed_in_by_share(tmp_path):
    general = write_jsonl(
        tmp_path / "general.jsonl", [{"prompt": f"Who is {i}?", "completion": f"It is {i}."} for i in range(9)]
    )
    rows = [row for i in range(30) for row in scored(f"p{i}", 1)]
    examples, report = reject(tmp_path, rows, "--mix", f"{general}:0.2")
    assert len(examples) == 38
    assert [row["kind"] for row in examples].count("general") == 8
    assert report[-1] == f"  mixed in: 8 rows of {general}, 21.1%"
    again, _ = reject(tmp_path, rows, "--mix", f"{general}:0.2", "--seed", 1)
    assert again != examples
    examples, report = reject(tmp_path, rows, "--mix", f"{general}:0.5")
    assert len(examples) == 39
    assert report[-1].endswith("23.1% of 50.0%: the file has no more, and none is taken twice")


def test_pairs_set_the_best_against_the_worst_that_is_left(tmp_path):
    rows = [*scored("a", 0, 1, 1.2, 0.2), *scored("b", 0, 0), *scored("c", 1, 1)]
    examples, report = reject(tmp_path, rows, "--pairs", "--keep", 2)
    assert [(row["id"], row["sample"], row["rejected_sample"], row["margin"]) for row in examples] == [
        ("a", 2, 0, 1.2), ("a", 1, 3, 0.8),
    ]  # fmt: skip
    assert dropped(report, "nothing worse to pair it with") == ("5", "2")
    examples, _ = reject(tmp_path, rows, "--pairs", "--keep", 2, "--margin", 1)
    assert [(row["sample"], row["rejected_sample"]) for row in examples] == [(2, 0)]


def test_of_equally_bad_rollouts_the_one_of_nearest_length_is_rejected(tmp_path):
    rows = scored("a", 0, 0, 0, 1, 0, 0)
    rows[3]["completion_tokens"] = 14
    rows[4]["completion_tokens"] = 16
    [row], _ = reject(tmp_path, rows, "--pairs")
    assert row["rejected_sample"] == 5  # 15 tokens


def test_prose_filters_are_for_what_is_imitated_alone(tmp_path):
    rows = scored("a", 0, 1)
    rows[0]["completion"] = PROSE["code block in the reasoning"]
    assert reject(tmp_path, rows, "--pairs")[0][0]["rejected_sample"] == 0
    rows = scored("a", 1.2, 1, 0)
    rows[0]["completion"] = PROSE["code block in the reasoning"]
    assert reject(tmp_path, rows, "--pairs")[0][0]["sample"] == 1


def test_steps_are_of_right_and_wrong_rollouts_alike(tmp_path):
    rows = [*scored("a", 0, 1, 1, 0, completion="<think>one\n\ntwo</think> 1"), *scored("b", 0)]
    for i, row in enumerate(rows):
        row["completion"] = f"<think>one {i}\n\ntwo</think> 1"
    examples, _ = reject(tmp_path, rows, "--steps")
    assert [(row["id"], row["sample"], row["completions"], row["labels"]) for row in examples] == [
        ("a", 1, ["one 1", "two"], [True, True]),
        ("a", 0, ["one 0", "two"], [False, False]),
        ("b", 0, ["one 4", "two"], [False, False]),
    ]


def test_a_chain_whose_gold_answer_cannot_be_read_is_not_labelled_wrong(tmp_path):
    rows = scored("a", 0, verdict="gold_unparseable", rewards={"accuracy": None}, reward=None)
    examples, report = reject(tmp_path, rows, "--steps")
    assert examples == []
    assert dropped(report, "not judged (no verdict)") == ("1", "1")


def test_steps_that_were_scored_have_labels_of_their_own(tmp_path):
    rows = scored("a", 0, 0, completion="one. two. three")
    rows[0]["step_scores"] = [0.9, 0.8, 0.1]
    rows[1]["step_scores"] = [0.9]
    examples, report = reject(tmp_path, rows, "--steps", "--separator", ". ", "--step-threshold", 0.85)
    assert [(row["completions"], row["labels"]) for row in examples] == [
        (["one", "two", "three"], [True, False, False])
    ]
    assert dropped(report, "no steps, or not those of step_scores") == ("1", "0")


def test_a_dry_run_reports_and_writes_nothing(tmp_path):
    path, output = write_jsonl(tmp_path / "scored.jsonl", ROWS), tmp_path / "sft.jsonl"
    output.write_text("old\n")
    run = r1kit("reject-sample", path, "-o", output, "--dry-run")
    assert (run.returncode, run.stdout, output.read_text()) == (0, "", "old\n")
    assert run.stderr == r1kit("reject-sample", path).stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scored.jsonl", "sft.jsonl"]


def test_several_files_are_read_one_after_another(tmp_path):
    paths = [write_jsonl(tmp_path / f"{name}.jsonl", scored(name, 1)) for name in "ab"]
    assert [row["id"] for row in lines(r1kit("reject-sample", *paths).stdout)] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": ...}, 'no "reward"; run r1kit reward first'),
        ({"reward": "high"}, '"reward" is no number; run r1kit reward first'),
        ({"completion": ...}, 'no "completion"; run r1kit rollout first'),
        ({"prompt": ...}, 'no "prompt"; run r1kit data first'),
        ({"prompt": ["q"]}, "the prompt or messages are no list of messages; write a text, or"),
        ({"language": "xx"}, 'unknown language "xx"'),
    ],
)
def test_a_record_that_is_no_scored_rollout_is_named(tmp_path, fields, message):
    row = {key: value for key, value in {**scored("a", 1)[0], **fields}.items() if value is not ...}
    with pytest.raises(UserError, match=rf"scored\.jsonl:1: {message}"):
        reject(tmp_path, [row])


def test_rollouts_of_a_problem_that_do_not_stand_together_are_named(tmp_path):
    path = write_jsonl(tmp_path / "scored.jsonl", [*scored("a", 1), *scored("b", 1), *scored("a", 1)])
    run = r1kit("reject-sample", path)
    assert run.returncode == 1
    assert run.stderr == (
        f'r1kit reject-sample: error: {path}:3: the rollouts of "a" do not stand together; sort the file by id\n'
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--keep none", '--keep: "none" is neither a number from 1 on nor all; write --keep 4, for instance'),
        ("--keep 0", '--keep: "0" is neither a number from 1 on nor all; write --keep 4, for instance'),
        ("--pass-rate 2", '--pass-rate: "2" is not LOW:HIGH with 0 <= LOW <= HIGH <= 1; write 0.1:0.9'),
        ("--steps --pairs", "--steps: stepwise rows hold wrong rollouts too, and no pairs; leave --pairs and --thresh"),
        ("--steps --threshold 1", "--steps: stepwise rows hold wrong rollouts too, and no pairs; leave --pairs and"),
        ("--steps --format messages", "--format: stepwise rows are texts; leave it out"),
        ("--pairs --mix FILE:0.5", "--mix: only examples of SFT can be mixed in; leave it or --pairs out"),
        ("--mix FILE:1.5", '--mix: "FILE:1.5" is not FILE:SHARE with 0 < SHARE < 1'),
        ("--threshold good", '--threshold: "good" is neither correct, nor a number, nor NAME=NUMBER'),
    ],
)
def test_flags_that_cannot_be_used_name_the_remedy(tmp_path, flags, message):
    path = str(write_jsonl(tmp_path / "general.jsonl", []))
    with pytest.raises(UsageError) as error:
        reject(tmp_path, ROWS, *flags.replace("FILE", path).split())
    assert str(error.value).replace(path, "FILE").startswith(message)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_row_to_mix_in_that_is_no_example_is_named(tmp_path):
    general = write_jsonl(tmp_path / "general.jsonl", [{"prompt": "q", "answer": "a"}])
    with pytest.raises(UserError, match=r'general\.jsonl:1: neither "messages" nor "prompt" and "completion"; mix in'):
        reject(tmp_path, ROWS, "--mix", f"{general}:0.5")


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path):
    path, output = write_jsonl(tmp_path / "scored.jsonl", ROWS), tmp_path / "sft.jsonl"
    output.write_text("old\n")
    run = r1kit("reject-sample", path, "-o", output)
    assert (run.returncode, output.read_text()) == (1, "old\n")
    assert run.stderr.startswith(f"r1kit reject-sample: error: {output}: is there; say --overwrite")
    assert r1kit("reject-sample", path, "-o", output, "--overwrite").returncode == 0
    assert output.read_text() == r1kit("reject-sample", path).stdout


def test_a_killed_run_that_is_resumed_gives_the_file_of_one_that_was_not(tmp_path):
    general = write_jsonl(tmp_path / "general.jsonl", [{"prompt": f"q{i}", "completion": "a"} for i in range(99)])
    rows = [row for i in range(120) for row in scored(f"p{i}", 0, 1, 1.2, 1)]
    flags = ("--keep", "2", "--select", "random", "--mix", f"{general}:0.3")
    path, output = write_jsonl(tmp_path / "scored.jsonl", rows), tmp_path / "sft.jsonl"
    whole = r1kit("reject-sample", path, *flags)
    command = [sys.executable, "-m", "r1kit", "reject-sample", "-", "-o", output, *flags]
    for done in (200, 333):  # killed twice, amid a problem
        extra = ["--resume"] if done > 200 else []
        with subprocess.Popen([*command, *extra], stdin=subprocess.PIPE, text=True) as run:
            run.stdin.write("".join(json.dumps(row) + "\n" for row in rows[:done]))
            run.stdin.flush()
            part = tmp_path / "sft.jsonl.part"
            while not (part.exists() and part.read_bytes().count(b"\n") >= done // 4 * 2 - 2):
                assert run.poll() is None
                time.sleep(0.02)
            run.send_signal(signal.SIGKILL)
        assert not output.exists()
    changed = r1kit("reject-sample", path, "-o", output, *flags, "--resume", "--seed", 1)
    assert (changed.returncode, "the run has seed 0, not 1" in changed.stderr) == (1, True)
    resumed = r1kit("reject-sample", path, "-o", output, *flags, "--resume")
    assert (resumed.returncode, resumed.stderr) == (0, whole.stderr)
    assert output.read_text() == whole.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["general.jsonl", "scored.jsonl", "sft.jsonl"]


@pytest.fixture(scope="module")
def base_scored(tmp_path_factory):
    """Return scored rollouts of the embedded base."""
    folder = tmp_path_factory.mktemp("base")
    problems, drawn, graded = (folder / f"{name}.jsonl" for name in ("problems", "rollouts", "scored"))
    for command in (
        ("data", "arith", "--limit", 40, "-o", problems),
        ("rollout", "--model", "base", "--engine", "transformers", "-n", 8, "--max-tokens", 64, problems, "-o", drawn),
        ("reward", drawn, "-o", graded),
    ):
        run = r1kit(*command)
        assert run.returncode == 0, run.stderr
    return graded


@pytest.mark.parametrize("flags", ["", "--format prompt-completion", "--pairs", "--pairs --format prompt-completion"])
def test_what_the_base_gives_loads_in_datasets_and_is_what_trl_takes(base_scored, tmp_path, flags):
    from datasets import load_dataset
    from trl import apply_chat_template, is_conversational

    from r1kit.model import load_model

    output = tmp_path / "sft.jsonl"
    run = r1kit("reject-sample", base_scored, "-o", output, *flags.split())
    assert run.returncode == 0, run.stderr
    rows = load_dataset("json", data_files=str(output), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == output.read_text().count("\n") > 20
    assert all(is_conversational(row) == ("prompt-completion" not in flags) for row in rows)
    if "prompt-completion" not in flags:
        _, tokenizer = load_model("base")
        tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
        columns = ("messages", "prompt", "chosen", "rejected")
        texts = [apply_chat_template({k: v for k, v in row.items() if k in columns}, tokenizer) for row in rows]
        assert all(text.values() for text in texts)


def test_steps_of_the_base_load_as_trls_stepwise_rows(base_scored, tmp_path):
    from datasets import load_dataset

    output = tmp_path / "steps.jsonl"
    run = r1kit("reject-sample", base_scored, "-o", output, "--steps", "--separator", ". ")
    assert run.returncode == 0, run.stderr
    rows = load_dataset("json", data_files=str(output), split="train", cache_dir=str(tmp_path / "cache"))
    assert all(len(row["completions"]) == len(row["labels"]) > 0 for row in rows)
    assert {label for row in rows for label in row["labels"]} == {True, False}
