from r1kit.comparison import compare
from r1kit.eval_tables import WIDTH, format_table, result_tables
from r1kit.evaluate import Row
from r1kit.jsonl import Record
from r1kit.metrics import measure
from r1kit.paper import PUBLISHED, published


def rollouts(right_of, samples=16, tokens=10):
    """Return scored rollouts: of each problem so many of the samples are right."""
    return [
        Record(
            {
                "id": str(problem), "answer": "7", "kind": "math", "sample": sample, "completion": "",
                "completion_tokens": tokens, "finish_reason": "stop", "extracted": "7" if sample < right else "8",
                "verdict": "correct" if sample < right else "wrong",
                "rewards": {"accuracy": float(sample < right), "format": 1.0, "language": None},
            },
            "f:1",
        )
        for problem, right in enumerate(right_of)
        for sample in range(samples)
    ]  # fmt: skip


def row(model, benchmark, right_of, **fields):
    return Row({"model": model, "benchmark": benchmark}, measure(rollouts(right_of)), **fields)


def test_the_table_of_a_training_run_has_a_line_a_row():
    table = format_table({"before": measure(rollouts([4, 16])), "after": measure(rollouts([16, 16]))})
    assert table[0].split() == ["pass@1", "cons@16", "format", "length"]
    assert table[1].split()[:3] == ["before", "62.5", "%"]
    assert len({len(line) for line in table}) == 1


def test_a_reward_that_is_not_the_accuracy_has_a_column():
    as_graded = [rollout.derive(reward=rollout["rewards"]["accuracy"]) for rollout in rollouts([4, 16])]
    judged = [rollout.derive(reward=1.5, rewards={"model": 1.5}) for rollout in rollouts([4, 16])]
    graded = Row({"file": "graded"}, measure(as_graded))
    lines = result_tables([graded, Row({"file": "judged"}, measure(judged))])
    [titles] = [line.split() for line in lines if "truncated" in line]
    assert titles[:3] == ["k", "reward", "format"]
    details = [line.split() for line in lines if line.startswith(("graded ", "judged "))][-2:]
    assert [cells[2] for cells in details] == ["0.62", "1.50"]
    assert "reward" not in " ".join(result_tables([graded]))


def test_models_are_lines_and_benchmarks_columns():
    rows = [row("a", "aime24", [4, 16]), row("a", "gsm8k", [16, 16]), row("b", "gsm8k", [0, 0])]
    head, first, second, *_ = result_tables(rows)
    assert head.split("  ")[-1].strip() == "GSM8K cons@16"
    assert head.split()[:6] == ["AIME", "2024", "pass@1", "AIME", "2024", "cons@16"]
    assert first.startswith("a  62.5 % [")
    assert second.split()[:3] == ["b", "–", "–"]  # it was not measured there


def test_a_wide_table_is_cut_into_several_of_the_same_models():
    names = ["aime24", "aime25", "math500", "gsm8k", "gpqa-diamond", "amc23", "mbpp"]
    lines = result_tables([row(model, name, [4, 16]) for name in names for model in ("one", "two")])
    tables = lines[: next(i for i, line in enumerate(lines) if "truncated" in line)]
    assert sum(line.startswith("one") for line in tables) == tables.count("") >= 3
    assert all(len(line) <= WIDTH for line in tables)


def test_what_lies_behind_the_accuracy():
    lines = result_tables([row("a", "gsm8k", [4, 16], seconds=3725.0)])
    [titles] = [line.split() for line in lines if "truncated" in line]
    [detail] = [line for line in lines if line.startswith("a on GSM8K")]
    assert titles == ["k", "format", "language", "truncated", "length", "right", "wrong", "tokens", "time"]
    assert detail.split()[3:] == ["16", "100.0", "%", "–", "0.0", "%", "10.0", "10.0", "10.0", "320", "1:02:05"]


def test_a_comparison_is_one_line():
    first, second = row("a", "gsm8k", [4, 8, 0]), row("b", "gsm8k", [8, 8, 4])
    comparison = compare(first.metrics.by_problem, second.metrics.by_problem)
    second = row("b", "gsm8k", [8, 8, 4], against="a", comparison=comparison)
    line = result_tables([first, second])[-1]
    assert line.startswith("b on GSM8K, against a: +16.7 points [-")
    assert line.endswith("], p = 0.500; better on 2, worse on 0 of 3 problems")


def test_published_values_stand_below_the_models_that_have_them():
    model = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    rows = [row(model, "aime24", [4, 16]), row("mine", "aime24", [0, 0])]
    _, measured, values, mine, *_ = result_tables(rows, paper=True)
    assert measured.startswith(model)
    assert values.split() == ["published", "28.9", "%", "–"]  # cons@64 is published, and 16 were drawn
    assert mine.startswith("mine")
    assert rows[0].as_json(paper=True)["paper"] == {"pass@1": 28.9, "cons@64": 52.7}
    assert "paper" not in rows[0].as_json()
    assert "paper" not in rows[1].as_json(paper=True)


def test_a_published_model_is_known_by_the_last_part_of_its_name():
    assert published("models/deepseek-r1-zero/", "math500") == {"pass@1": 95.9}
    assert published("base", "math500") == {}
    assert len({(p.model, p.benchmark, p.metric) for p in PUBLISHED}) == len(PUBLISHED)


def test_what_could_not_be_graded_is_said():
    rows = rollouts([4, 16])
    rows[0]["rewards"]["accuracy"] = rows[0]["verdict"] = None
    rows[1]["verdict"] = "timeout"
    line = result_tables([Row({"model": "a", "benchmark": "gsm8k"}, measure(rows))])[-1]
    assert line == ("a on GSM8K: of the rollouts, 1 could not be graded, 1 took too long to grade and count as wrong")
