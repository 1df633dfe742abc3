import json
import re
from random import Random

import pytest
from conftest import SHARED, lines, needs_shared, r1kit, write_jsonl
from made_problems import change_numbers, make_problem, near_copy, restyle

from r1kit.dedup import SIMILARITY, drop_duplicates, wording_of
from r1kit.embedded.problems import FOLDER
from r1kit.jsonl import Record, read_records
from r1kit.records import SeenKeys, as_problem
from r1kit.removed import Removed

DUCKS = (
    "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. She sells the remainder at the farmers' market for $2 per egg. How much does she make?"
)
NEARLY_DUCKS = [
    DUCKS.replace("remainder", "rest"),
    DUCKS.replace("every morning ", "").upper(),
    DUCKS.replace(" every day with four", " daily with 4"),
    "She eats three for breakfast every morning and bakes muffins for her friends every day with four. Janet’s ducks "
    "lay 16 eggs per day. She sells the remainder at the farmers' market for $2 per egg. How much does she make?",
]
OTHER_DUCKS = [
    DUCKS.replace("16", "17"),
    DUCKS.replace("three", "two"),
    DUCKS.replace("16", "2").replace("$2", "$16"),
    DUCKS.replace("$2", "2%"),
    DUCKS + " And in 5 days?",
]


def removed_of(prompts, how):
    """Return why problems go: {number: what is in the file of removed ones}."""
    rows = []
    removed = Removed(rows.append)
    problems = [Record({"id": f"{i}", "prompt": prompt}, f"x:{i}") for i, prompt in enumerate(prompts)]
    kept = list(drop_duplicates(problems, how, removed))
    assert len(kept) + len(rows) == len(problems)
    assert [problem["id"] for problem in kept] == sorted((p["id"] for p in kept), key=int)
    return {int(row["id"]): row["removed"] for row in rows}


def test_exact_keeps_the_first_of_those_that_say_the_same():
    prompts = ["What is 3+4?", "what is $3 + 4$", "What is 3+5?", [{"role": "user", "content": "WHAT IS 3+4"}], DUCKS]
    assert removed_of(prompts, "exact") == {1: {"why": "exact", "of": "0"}, 3: {"why": "exact", "of": "0"}}


@pytest.mark.parametrize("other", NEARLY_DUCKS)
def test_near_takes_a_copy_in_other_words_or_another_order(other):
    found = removed_of([DUCKS, other], "near")[1]
    assert (found["why"], found["of"]) == ("near", "0")
    assert SIMILARITY <= found["similarity"] <= 1
    assert removed_of([DUCKS, other], "exact") == {}


@pytest.mark.parametrize("other", OTHER_DUCKS)
def test_other_numbers_or_numbers_in_other_places_are_another_problem(other):
    assert removed_of([DUCKS, other], "near") == {}


def test_near_takes_exact_copies_too_and_copies_of_copies_by_the_one_that_is_kept():
    prompts = [DUCKS, NEARLY_DUCKS[0], DUCKS.lower(), NEARLY_DUCKS[0].upper()]
    found = removed_of(prompts, "near")
    assert {i: reason["why"] for i, reason in found.items()} == {1: "near", 2: "exact", 3: "near"}
    assert {reason["of"] for reason in found.values()} == {"0"}
    assert found[1] == found[3]


def test_near_keeps_problems_with_other_answers():
    answers = ["18", "18.", None, "yes", "$18$", "yes"]
    texts = [DUCKS, *NEARLY_DUCKS, NEARLY_DUCKS[0] + " Say."]
    rows = [{"id": text, "prompt": text, "answer": answer} for text, answer in zip(texts, answers, strict=True)]
    kept = drop_duplicates([Record(row, "x:1") for row in rows], "near", Removed())
    assert [problem["answer"] for problem in kept] == ["18", None, "yes"]
    again = [Record({"id": answer, "prompt": DUCKS, "answer": answer}, "x:1") for answer in "12"]
    assert [problem["answer"] for problem in drop_duplicates(again, "near", Removed())] == ["1"]


def test_similarity_is_that_of_the_shingles():
    one, other = wording_of("abcdefgh 1"), wording_of("abcdefgx 1")  # of 6 shingles each, 3 are shared
    assert len(one.shingles & other.shingles) == 3
    assert one.similarity(other) == 0  # 3 / 9
    long = wording_of("abcdefgh" * 9 + "xyz")
    assert long.similarity(wording_of("abcdefgh" * 9)) == pytest.approx(8 / 11)  # all 8, of which 3 more end in xyz


def test_chinese_problems_are_compared_by_their_characters():
    text = "小明有三个苹果，妈妈又给了他五个苹果，然后他把两个苹果分给了妹妹。请问小明现在一共还有多少个苹果？"
    prompts = [text, text.replace("妈妈", "爸爸"), text.replace("五", "六"), text.replace("，", " ")]
    assert {i: reason["why"] for i, reason in removed_of(prompts, "near").items()} == {1: "near", 3: "exact"}


def test_short_problems_of_one_template_are_all_kept():
    prompts = [f"What is {a} {sign} {b}?" for a in range(30) for b in range(30) for sign in "+-*/"]
    assert removed_of(prompts, "near") == {}
    arith = [row["prompt"] for split in ("train", "test") for row in read_records(str(FOLDER / f"arith.{split}.jsonl"))]
    assert removed_of(arith, "near") == {}


def test_nearly_all_near_copies_are_found_and_hardly_anything_else():
    chance = Random(0)
    originals = [make_problem(chance) for _ in range(1000)]
    copies = [near_copy(text, chance) for text in originals]
    changed = [restyle(change_numbers(text, chance), chance) for text in originals]
    found = removed_of([*originals, *copies, *changed], "near")
    assert sum(1000 <= i < 2000 and found[i]["of"] == f"{i - 1000}" for i in found) >= 985
    assert [i for i in found if not 1000 <= i < 2000] == []


@needs_shared
def test_no_problem_of_a_benchmark_is_nearly_another_but_those_that_are():
    for name, expected in (("gsm8k_test", 0), ("aime24", 0), ("amc23", 0)):
        rows = map(as_problem, read_records(str(SHARED / "data" / f"{name}.jsonl")))
        assert len(removed_of([row["prompt"] for row in rows], "near")) == expected


def test_seen_keys_are_numbered_as_they_come():
    keys = SeenKeys()
    for i in range(5000):
        assert keys.number(f"{i}") == i
        assert keys.number(f"{i // 2}") == i // 2
    assert len(keys) == 5000
    assert not keys.add("4999")
    assert keys.add(4999)


ROWS = [
    {"id": "a", "prompt": DUCKS, "x": 1},
    {"id": "b", "prompt": DUCKS.upper(), "x": 2},
    {"id": "c", "prompt": NEARLY_DUCKS[0], "x": 3},
    {"id": "d", "prompt": "What is 3+4?", "x": 4},
]


def test_the_command_writes_what_stays_what_goes_and_why(tmp_path):
    path, output = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    run = r1kit("data", path, "--dedup", "near", "-o", output)
    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr == "removed: 2 of 4 problems (1 exact, 1 near)\n  exact: b ~ a\n  near: c ~ a (0.92)\n"
    assert lines(output.read_text()) == [ROWS[0], ROWS[3]]
    exact, near = lines((tmp_path / "out.removed.jsonl").read_text())
    assert exact == {**ROWS[1], "removed": {"why": "exact", "of": "a"}}
    assert near == {**ROWS[2], "removed": {"why": "near", "of": "a", "similarity": near["removed"]["similarity"]}}
    assert 0.915 <= near["removed"]["similarity"] < 0.925


def test_on_stdout_the_removed_go_nowhere_or_to_the_file_that_is_named(tmp_path):
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    run = r1kit("data", "-", "--dedup", "exact", stdin=text, cwd=tmp_path)
    assert [row["id"] for row in lines(run.stdout)] == ["a", "c", "d"]
    assert run.stderr.startswith("removed: 1 of 4 problems (1 exact)\n")
    assert list(tmp_path.iterdir()) == []
    named = r1kit("data", "-", "--dedup", "exact", "--removed", "went.jsonl", stdin=text, cwd=tmp_path)
    assert named.stdout == run.stdout
    assert [row["id"] for row in lines((tmp_path / "went.jsonl").read_text())] == ["b"]
    again = r1kit("data", "-", "--dedup", "exact", "--removed", "went.jsonl", stdin=text, cwd=tmp_path)
    assert again.stderr == (
        "r1kit data: error: went.jsonl: is there; say --overwrite, or name another file with --removed\n"
    )


def test_limit_counts_what_stays():
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    run = r1kit("data", "-", "--dedup", "near", "--limit", 2, stdin=text)
    assert [row["id"] for row in lines(run.stdout)] == ["a", "d"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--removed", "x"), "--removed: nothing is taken out; say --dedup or --decontaminate"),
        (("--dedup", "exact", "--removed", "-"), "--removed: is where the others go; name a file"),
        (
            ("--dedup", "exact", "-o", "a", "--removed", "./a"),
            "--removed: must be a file of its own where -o is one; name another file",
        ),
    ],
)
def test_a_place_that_cannot_be_used_is_a_usage_error(flags, message, tmp_path):
    run = r1kit("data", "facts", *flags, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (2, f"r1kit data: error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_nothing_in_is_nothing_out():
    run = r1kit("data", "-", "--dedup", "near")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "removed: 0 of 0 problems\n")


def test_the_first_problem_leaves_before_the_last_comes_and_a_bad_line_is_named():
    text = "".join(json.dumps(row) + "\n" for row in ROWS[:3]) + "{\n"
    run = r1kit("data", "-", "--dedup", "near", stdin=text)
    assert run.returncode == 1
    assert [row["id"] for row in lines(run.stdout)] == ["a"]
    assert re.fullmatch(r"r1kit data: error: <stdin>:4: not JSON .*\n", run.stderr)
