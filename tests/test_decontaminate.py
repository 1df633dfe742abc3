import re
from random import Random

import pytest
from conftest import SHARED, lines, needs_shared, r1kit, write_jsonl
from made_problems import change_numbers, make_problem, restyle

from r1kit.data import read_problems
from r1kit.decontaminate import OTHER_NUMBERS, Benchmarks, drop_contaminated
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.removed import Removed

MATH500 = str(SHARED / "data" / "math500.jsonl")
DUCKS = (
    "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg."
)
RELATIVELY_PRIME = (
    "can be written in the form $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers."
)
STORY = "On a board between tea and biscuits a knight of chess moves until it has seen all of the squares, and its way"
HELD = [  # what a benchmark holds, and a prompt that is a copy of it
    (DUCKS, DUCKS),
    (DUCKS, DUCKS.upper().replace("’", "")),
    (DUCKS, DUCKS.replace("three", "3").replace("$2", "2").replace(". ", " — ")),
    (DUCKS, f"Problem 7. {DUCKS} How much does she make in 30 days? Please reason step by step."),
    (DUCKS, DUCKS.partition("She sells")[0]),
    (DUCKS, DUCKS.replace("breakfast", "lunch")),
    ("What is $3+4$?", "what is 3 + 4"),
    ("", ""),
    ("Prove that the sum of the angles of any flat triangle is that of a straight line.",) * 2,
]
NOT_HELD = [
    (DUCKS, DUCKS.replace("16", "17")),
    (DUCKS, DUCKS.replace("three", "two")),
    (DUCKS, DUCKS.replace("$2", "$3").upper()),
    (DUCKS, DUCKS.replace("four", "five") + " How much does she make?"),
    (DUCKS, "Ducks lay 16 eggs, three and four, for $2."),
    ("What is $3+4$?", "What is $3+5$?"),
    ("What is $3+4$?", "What is $3+4$ times 2, if Ann has 5 apples more than Ben has on the day after she had none?"),
    (f"If $x^2=2$, its inverse {RELATIVELY_PRIME} Find m.", f"If $5y=2$, what $y$ is {RELATIVELY_PRIME} Find $m+7n$."),
    (
        f"The sum of five dice {RELATIVELY_PRIME}",
        f"{STORY} {RELATIVELY_PRIME}",
    ),
]


def reason_of(held, prompt, folder, n=13, any_numbers=False):
    """Return why a prompt goes for a benchmark of one problem; None: it stays and is not spoken of."""
    path = write_jsonl(folder / "bench.jsonl", [{"id": "b", "prompt": held}])
    return Benchmarks([str(path)], n, any_numbers).overlap(Record({"id": "p", "prompt": prompt}, "x:1"))


@pytest.mark.parametrize(("held", "prompt"), HELD)
def test_a_copy_is_found_whatever_its_case_and_punctuation_and_what_stands_around_it(held, prompt, tmp_path):
    reason = reason_of(held, prompt, tmp_path)
    assert (reason.why, reason.of) == ("contaminated", "b")


@pytest.mark.parametrize(("held", "prompt"), NOT_HELD)
def test_other_numbers_and_what_many_problems_say_are_no_copy(held, prompt, tmp_path):
    reason = reason_of(held, prompt, tmp_path)
    assert reason is None or reason.why == OTHER_NUMBERS


def test_other_numbers_count_where_that_is_asked_for(tmp_path):
    changed = DUCKS.replace("$2", "$3")
    assert reason_of(DUCKS, changed, tmp_path).why == OTHER_NUMBERS
    assert reason_of(DUCKS, changed, tmp_path, any_numbers=True).why == "contaminated"
    assert reason_of(DUCKS, "Ducks lay 16 eggs.", tmp_path, any_numbers=True) is None


def test_n_words_in_a_row_are_needed_and_named(tmp_path):
    held = " ".join(f"w{letter}" for letter in "abcdefghijklmnop")
    prompt = "first " + " ".join(f"w{letter}" for letter in "cdefghijkl") + " last and some more words after it"
    assert reason_of(held, prompt, tmp_path) is None
    assert reason_of(held, prompt, tmp_path, n=11) is None
    reason = reason_of(held, prompt, tmp_path, n=10)
    assert reason.ngram == "wc wd we wf wg wh wi wj wk wl"
    assert reason_of(held, prompt, tmp_path, n=8).ngram == "wc wd we wf wg wh wi wj"


def test_chinese_is_compared_by_its_characters(tmp_path):
    held = "小明有三个苹果，妈妈又给了他五个苹果。请问小明现在一共有多少个苹果？"
    assert reason_of(held, "题目：" + held.replace("，", " "), tmp_path).why == "contaminated"
    assert reason_of(held, held.replace("五", "六"), tmp_path).why == OTHER_NUMBERS


def test_a_conversation_is_a_prompt(tmp_path):
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": DUCKS}]
    assert reason_of(DUCKS, said, tmp_path).of == "b"
    assert reason_of(said, DUCKS, tmp_path).of == "b"


@needs_shared
def test_every_problem_of_a_benchmark_is_found_and_none_with_other_numbers():
    path = str(SHARED / "data" / "gsm8k_test.jsonl")
    benchmarks, held = Benchmarks([path]), list(read_problems(path))
    for prompt in (str, str.upper, str.title, "  {}\n\n".format):
        found = [benchmarks.overlap(problem.derive(prompt=prompt(problem["prompt"]))) for problem in held]
        assert {reason and reason.why for reason in found} == {"contaminated"}
        assert sum(reason.of == problem["id"] for reason, problem in zip(found, held, strict=True)) > 1310
    changed = [re.sub(r"\d(?!.*\d)", lambda digit: str((int(digit[0]) + 1) % 10), p["prompt"]) for p in held]
    found = [benchmarks.overlap(problem.derive(prompt=text)) for problem, text in zip(held, changed, strict=True)]
    wrong = [text for text, reason in zip(changed, found, strict=True) if reason and reason.why != OTHER_NUMBERS]
    assert [text for text in wrong if text not in {problem["prompt"] for problem in held}] == []


@needs_shared
def test_benchmarks_that_share_only_phrases_hold_nothing_of_each_other():
    names = ["gsm8k_test", "math500", "aime24", "amc23", "minerva_math"]
    for name in names:
        others = Benchmarks([str(SHARED / "data" / f"{other}.jsonl") for other in names if other != name], n=8)
        removed = Removed()
        problems = list(read_problems(str(SHARED / "data" / f"{name}.jsonl")))
        assert len(list(drop_contaminated(problems, others, removed))) == len(problems)


@needs_shared
def test_fifty_planted_copies_are_found_and_nothing_else(tmp_path):
    """25 exact, 25 in other case and punctuation; 25 with another number, and 4,900 others, are none."""
    chance, bench = Random(0), SHARED / "data" / "gsm8k_test.jsonl"
    held = [p["prompt"] for p in read_problems(str(bench)) if re.search(r"\b\d+\b", p["prompt"])]
    texts = chance.sample(held, 75)
    rows = [{"id": f"exact-{i}", "prompt": text} for i, text in enumerate(texts[:25])]
    rows += [{"id": f"recased-{i}", "prompt": restyle(text, chance)} for i, text in enumerate(texts[25:50])]
    for i, text in enumerate(texts[50:]):
        number = chance.choice(list(re.finditer(r"(?<![\d.,])\d+(?![\d.,]\d)", text)))
        other = text[: number.start()] + str(int(number.group()) + 1) + text[number.end() :]
        rows.append({"id": f"changed-{i}", "prompt": other})
    rows += [{"id": f"made-{i}", "prompt": make_problem(chance)} for i in range(4500)]
    rows += [{"id": f"math-{i}", "prompt": p["prompt"]} for i, p in enumerate(read_problems(MATH500))]
    chance.shuffle(rows)
    path, output = write_jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    run = r1kit("data", path, "--decontaminate", bench, "-o", output)
    assert run.stderr.startswith("removed: 50 of 5,075 problems (50 contaminated)\n")
    assert re.search(r"\nkept: 2[0-5] with an n-gram of a benchmark but other numbers\n", run.stderr)
    removed = lines((tmp_path / "out.removed.jsonl").read_text())
    planted = {f"{kind}-{i}" for kind in ("exact", "recased") for i in range(25)}
    assert {row["id"] for row in removed} == planted
    assert [row["id"] for row in lines(output.read_text())] == [r["id"] for r in rows if r["id"] not in planted]


def test_the_command_says_what_went_and_which_benchmark_holds_it(tmp_path):
    rows = [{"prompt": DUCKS, "id": "a"}, {"prompt": change_numbers(DUCKS, Random(0)), "id": "b"}]
    path = write_jsonl(tmp_path / "in.jsonl", [*rows, rows[0], {"id": "c", "prompt": "Find the value of 9 * 9."}])
    one = write_jsonl(tmp_path / "one.jsonl", [{"id": 1, "question": DUCKS.lower()}])
    output = tmp_path / "out.jsonl"
    command = ("data", path, "--decontaminate", one, "--decontaminate", "arith", "--dedup", "exact", "-o", output)
    run = r1kit(*command)
    assert (run.returncode, run.stdout) == (0, "")
    ngram = "janets ducks lay 16 eggs per day she eats three for breakfast every"
    went = f'a ~ 1 of {one}: "{ngram}"'
    head = f"removed: 2 of 4 problems (2 contaminated)\n  contaminated: {went}\n  contaminated: {went}\n"
    assert run.stderr.startswith(f"{head}kept: 1 with an n-gram of a benchmark but other numbers\n  b ~ 1 of {one}: ")
    removed = {"why": "contaminated", "of": "1", "ngram": ngram, "benchmark": str(one)}
    assert lines((tmp_path / "out.removed.jsonl").read_text()) == [{**rows[0], "removed": removed}] * 2
    plain = r1kit(*command, "--any-numbers", "--ngram", 8, "--overwrite")
    assert plain.stderr.startswith("removed: 3 of 4 problems (3 contaminated)\n")
    assert [row["id"] for row in lines(output.read_text())] == ["c"]


def test_a_benchmark_that_is_none_is_named_before_anything_is_written(tmp_path):
    empty = write_jsonl(tmp_path / "e.jsonl", [])
    with pytest.raises(UserError, match=r"e\.jsonl: holds no problems; name a benchmark that does"):
        Benchmarks([str(empty)])
    run = r1kit("data", "facts", "--decontaminate", "aritth", "-o", tmp_path / "out.jsonl")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert run.stderr.startswith("r1kit data: error: aritth: no such file or known set; the nearest is arith; ")
    assert [path.name for path in tmp_path.iterdir()] == ["e.jsonl"]
