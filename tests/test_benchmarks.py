import json

import pytest
from conftest import SHARED, needs_shared, r1kit, write_jsonl

from r1kit.benchmarks import BENCHMARKS, find_benchmark, grader_of, read_task, split_names
from r1kit.data import EMBEDDED
from r1kit.errors import UserError
from r1kit.known_sets import KNOWN_SETS


def test_every_benchmark_is_a_set_that_data_has():
    assert all(name in KNOWN_SETS or name in EMBEDDED for name in BENCHMARKS)


def test_the_paper_s_samples():
    assert {name: BENCHMARKS[name].samples for name in ("aime24", "math500", "gpqa-diamond", "livecodebench")} == {
        "aime24": 64,
        "math500": 4,
        "gpqa-diamond": 8,
        "livecodebench": 16,
    }


def test_names_stand_between_commas_and_a_file_is_one_name(tmp_path):
    path = write_jsonl(tmp_path / "a,b.jsonl", [{"prompt": "x"}])
    assert split_names(["aime24,math500=x.jsonl", str(path), "arith"]) == [
        "aime24",
        "math500=x.jsonl",
        str(path),
        "arith",
    ]


def test_a_copy_of_a_benchmark_is_that_benchmark_and_any_other_source_one_of_its_own(tmp_path):
    assert find_benchmark("math500=FILE.jsonl") is BENCHMARKS["math500"]
    assert find_benchmark("AIME24") is BENCHMARKS["aime24"]
    path = str(write_jsonl(tmp_path / "mine.jsonl", [{"prompt": "x"}]))
    assert find_benchmark(path)._replace(counts=None) == (path, "mine", 4, 32768, None)


def test_an_unknown_benchmark_is_told_the_list():
    with pytest.raises(UserError) as error:
        read_task("aime42", None)
    assert str(error.value).startswith("aime42: no such benchmark; the known ones are aime24, aime25, amc23, math500,")


def test_livecodebench_is_the_paper_s_half_year(tmp_path):
    cases = json.dumps([{"input": "1", "output": "1", "testtype": "stdin"}])
    row = {"question_content": "Echo.", "public_test_cases": cases, "private_test_cases": cases, "metadata": "{}"}
    days = ("2024-07-31", "2024-08-01", "2025-01-31", "2025-02-01")
    rows = [{**row, "question_id": day, "contest_date": f"{day}T00:00:00"} for day in days]
    path = write_jsonl(tmp_path / "test6.jsonl", rows)
    assert [p["id"] for p in read_task(f"livecodebench={path}", None).problems] == ["2024-08-01", "2025-01-31"]


def test_the_hash_is_of_the_problems_alone(tmp_path):
    rows = [{"prompt": "1 + 1 = ?", "answer": "2"}, {"prompt": "2 + 2 = ?", "answer": "4"}]
    one, other = (str(write_jsonl(tmp_path / name, rows)) for name in ("a.jsonl", "b.jsonl"))
    assert read_task(one, None).data_hash == read_task(other, None).data_hash != read_task(one, 1).data_hash
    assert len(read_task(one, 1).problems) == 1
    rows[1]["answer"] = "5"
    assert read_task(str(write_jsonl(tmp_path / "c.jsonl", rows)), None).data_hash != read_task(one, None).data_hash


def test_what_grades_a_problem_is_named():
    assert grader_of({"prompt": "", "answer": "1"}).startswith("math-verify 0.9")
    assert grader_of({"prompt": "", "tests": {}}) == "tests"
    assert grader_of({"prompt": "", "answer": "B", "choices": ["1", "2"], "kind": "math"}) == "letter"
    assert grader_of({"prompt": "", "answer": "Rome", "kind": "general"}) == "exact match"


@needs_shared
@pytest.mark.parametrize(
    ("source", "count", "grader"),
    [
        ("gsm8k=gsm8k_test.jsonl", 1319, "math-verify"),
        ("math500=math500.jsonl", 500, "math-verify"),
        ("aime24=aime24.jsonl", 30, "math-verify"),
        ("amc23=amc23.jsonl", 40, "math-verify"),
        ("minerva-math=minerva_math.jsonl", 272, "math-verify"),
        ("mbpp=mbpp_prime.json", 399, "tests"),
    ],
)
def test_published_files_are_benchmarks(source, count, grader):
    name, _, file = source.partition("=")
    task = read_task(f"{name}={SHARED / 'data' / file}", None)
    assert (task.benchmark, len(task.problems)) == (BENCHMARKS[name], count)
    assert task.grader.startswith(grader)


def test_a_set_that_cannot_be_fetched_is_one_line():
    run = r1kit("eval", "--model", "base", "--on", "arith,math500", env={"HF_HUB_OFFLINE": "1"})
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("r1kit eval: error: HuggingFaceH4/MATH-500: the hub cannot be reached (")
    assert run.stderr.endswith("; with a local copy say math500=FILE\n")
