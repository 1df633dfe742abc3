import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.compute_optimal import (
    Choice,
    draw_measured,
    format_measured,
    measure_votes,
    read_policy,
)
from r1kit.difficulty import Difficulty, agreement, read_difficulty
from r1kit.errors import UserError
from r1kit.jsonl import Record, write_records
from r1kit.records import content_hash

EASY, HARD = [f"easy-{i}" for i in range(20)], [f"hard-{i}" for i in range(20)]
DIFFICULTY = Difficulty(4, dict.fromkeys(EASY, 1.0) | dict.fromkeys(HARD, 0.25), [0.0, 1.0])


def rollouts(problem, *answers, **fields):
    return [Record({"id": problem, "prompt": "p", "completion": answer, **fields}, "pilot:1") for answer in answers]


def votes(method, n, easy, hard, tokens, **fields):
    """Return votes on all problems, of which so many of the easy and of the hard ones are right."""
    return [
        {"id": problem, "method": method, "n": n, "correct": i < right, "generated_tokens": tokens, **fields}
        for problems, right in ((EASY, easy), (HARD, hard))
        for i, problem in enumerate(problems)
    ]


# easy problems need no search, and hard ones gain by it; at 16 beam search costs fewer tokens than best-of-n
SAVED = {
    "majority-4": votes("majority", 4, 18, 4, 200),
    "majority-16": votes("majority", 16, 18, 6, 800),
    "weighted-4": votes("weighted", 4, 16, 8, 190, by="score"),
    "beam-16": votes("weighted", 9, 12, 14, 600, by="score", search="beam", budget=16),
    "best-16": votes("best-of-n", 16, 15, 14, 800, by="score"),
}
BEAM = Choice("beam", "weighted", 16, "score")


@pytest.fixture
def files(tmp_path):
    return [str(write_jsonl(tmp_path / f"{name}.jsonl", records)) for name, records in SAVED.items()]


@pytest.fixture
def policy(files, tmp_path):
    path = str(tmp_path / "policy.jsonl")
    write_records(measure_votes(files, DIFFICULTY).records(), path)
    return read_policy(path)


def test_agreement_is_the_share_of_the_most_common_answer():
    assert agreement(rollouts("1", "1/2", "0.5", "3", "none")) == 0.5
    assert agreement(rollouts("1", "none", "neither")) == 0
    assert agreement(rollouts("1", "Paris", "Paris", "Rome", kind="general")) == pytest.approx(2 / 3)


def test_bins_are_quantiles_of_agreement(tmp_path):
    agreeing = {"a": "7777", "b": "7778", "c": "7788", "d": "7891", "e": "7777", "f": "77789", "g": "7789", "h": "8912"}
    pilot = [r for problem, answers in agreeing.items() for r in rollouts(problem, *answers)]
    path = str(write_jsonl(tmp_path / "pilot.jsonl", [dict(r) for r in pilot]))
    difficulty = read_difficulty(path, 4, 4)
    assert difficulty.agreement == {
        "a": 1, "b": 0.75, "c": 0.5, "d": 0.25, "e": 1, "f": 0.75, "g": 0.5, "h": 0.25,
    }  # fmt: skip
    assert difficulty.floors == [0, 0.5, 0.75, 1]
    assert [difficulty.bin_of(x) for x in (1, 0.8, 0.75, 0.6, 0.5, 0.25, 0)] == [1, 2, 2, 3, 3, 4, 4]
    assert [difficulty.range_of(number) for number in difficulty.bins] == [(1, 1), (0.75, 1), (0.5, 0.75), (0, 0.5)]
    assert read_difficulty(path, 4, 2).floors == [0, 0.75]
    assert read_difficulty(path, 4, 1).floors == [0]
    assert read_difficulty(path, 1, 4).floors == [0]  # one rollout always agrees with itself: the bins are merged


def test_a_bin_is_never_empty(tmp_path):
    pilot = [r for i in range(9) for r in rollouts(str(i), *("7777" if i else "1234"))]
    path = str(write_jsonl(tmp_path / "pilot.jsonl", [dict(r) for r in pilot]))
    difficulty = read_difficulty(path, 4, 4)
    bins = {difficulty.bin_of(value) for value in difficulty.agreement.values()}
    assert bins == set(difficulty.bins) == {1, 2}


def test_the_best_of_each_difficulty_is_chosen(policy):
    assert policy.pilot_n == 4
    assert policy.choose(1.0, 4) == Choice(None, "majority", 4)
    assert policy.choose(0.25, 4) == Choice(None, "weighted", 4, "score")
    assert policy.choose(0.25, 16) == BEAM  # as often right as best-of-n, for fewer tokens


def test_of_equally_good_ones_the_cheapest_is_chosen_also_of_a_smaller_budget(policy):
    assert policy.choose(1.0, 16) == Choice(None, "majority", 4)


def test_a_budget_between_those_measured_buys_the_next_smaller(policy):
    assert policy.choose(0.9, 15) == Choice(None, "weighted", 4, "score")  # of the bin up to 1
    assert policy.choose(0.0, 1000) == BEAM


def test_a_budget_below_all_that_was_measured_is_refused(policy):
    with pytest.raises(
        UserError, match=r"policy.jsonl: nothing was measured at a budget of 3 or less; the smallest is 4"
    ):
        policy.choose(0.5, 3)


def test_the_records_say_what_was_measured(files):
    records = list(measure_votes(files, DIFFICULTY).records())
    assert len(records) == 3 * len(SAVED)
    [beam] = [r for r in records if (r["difficulty"], r["search"]) == (2, "beam")]
    assert beam["accuracy"]["value"] == 0.7
    assert beam["accuracy"]["low"] < 0.7 < beam["accuracy"]["high"]
    del beam["accuracy"]
    assert beam == {
        "difficulty": 2, "low": 0.0, "high": 1.0, "search": "beam", "method": "weighted", "by": "score", "budget": 16,
        "problems": 20, "generated_tokens": 600, "chosen": True, "pilot_n": 4,
    }  # fmt: skip
    chosen = [(r["difficulty"], r["method"], r["budget"]) for r in records if r["chosen"]]
    assert chosen == [
        ("all", "best-of-n", 16), ("all", "weighted", 4), (1, "majority", 4), (2, "weighted", 16), (2, "weighted", 4),
    ]  # fmt: skip


def test_choices_are_measured_on_the_half_they_were_not_made_on(tmp_path):
    """Each of two methods is right on one half of the problems alone: what is best on one half fails on the other."""
    paths = []
    for method, half in (("majority", 0), ("weighted", 1)):
        records = votes(method, 4, 0, 0, 100)
        for record in records:
            record["correct"] = int(content_hash(record["id"]), 16) % 2 == half
        paths.append(str(write_jsonl(tmp_path / method, records)))
    measured = measure_votes(paths, DIFFICULTY)
    right = [cell.accuracy.mean for cell in measured.cells[0, None].values()]
    assert (sum(right), min(right) > 0.2) == (1, True)
    assert measured.across_halves(4, by_difficulty=True) == (0, 100)
    assert measured.across_halves(4, by_difficulty=False) == (0, 100)


def test_a_single_choice_has_its_own_accuracy_on_both_halves(files):
    measured = measure_votes(files[:1], DIFFICULTY)
    assert measured.across_halves(4, by_difficulty=True) == pytest.approx((22 / 40, 200))
    assert measured.across_halves(3, by_difficulty=True) is None


def test_what_a_choice_gains_by_difficulty_is_said(files):
    measured = measure_votes(files, DIFFICULTY)
    by_difficulty, for_all = (measured.across_halves(16, flag) for flag in (True, False))
    assert by_difficulty[0] > for_all[0]
    text = "\n".join(format_measured(measured))
    assert "beam + weighted by score" in text
    assert "difficulty 1 (agreement 1.00 to 1.00, 20 problems): majority of 4 (90.0 % [" in text
    assert "difficulty 2 (agreement 0.00 to 1.00, 20 problems): weighted by score of 4 (40.0 % [" in text
    assert "55.0%, 200 tokens" in text
    assert format_measured(measured)[0].split() == ["budget", "4", "budget", "16"]


def test_the_plot_has_the_methods_with_tokens(files):
    [drawing] = draw_measured(measure_votes(files, DIFFICULTY))
    assert "majority" in drawing
    assert draw_measured(measure_votes(files[:1], DIFFICULTY)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "new"}, 'v.jsonl:1: "new" has no pilot rollouts; give --pilot rollouts of every problem'),
        ({"method": None}, 'v.jsonl:1: no "method"; give records that r1kit vote wrote'),
        ({"n": "4"}, "v.jsonl:1: \"n\" is no whole number: '4'; give records that r1kit vote wrote"),
        ({"generated_tokens": None}, 'v.jsonl:1: no "generated_tokens"; vote on rollouts that say their completion_to'),
        ({"id": "easy-1"}, 'v.jsonl:2: the vote on "easy-1" by majority of 4 stands twice; give each file once'),
    ],
)
def test_bad_votes_are_named(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *rest = SAVED["majority-4"]
    write_jsonl(tmp_path / "v.jsonl", [{**first, **change}, *rest])
    with pytest.raises(UserError) as error:
        measure_votes(["v.jsonl"], DIFFICULTY)
    assert str(error.value).startswith(message)


def test_methods_are_compared_on_the_same_problems_alone(tmp_path):
    paths = [write_jsonl(tmp_path / "a", SAVED["majority-4"]), write_jsonl(tmp_path / "b", SAVED["beam-16"][1:])]
    with pytest.raises(UserError, match='"easy-0" was answered by majority of 4, not by beam'):
        measure_votes(map(str, paths), DIFFICULTY)


def test_what_cannot_be_graded_is_left_out_and_counted(tmp_path):
    ungraded = [{**vote, "correct": None} for vote in SAVED["majority-4"][:3]]
    path = str(write_jsonl(tmp_path / "a", [*ungraded, *SAVED["majority-4"][3:]]))
    assert "3 votes left out: they cannot be graded" in format_measured(measure_votes([path], DIFFICULTY))
    path = str(write_jsonl(tmp_path / "b", ungraded))
    with pytest.raises(UserError, match="no vote that can be graded"):
        measure_votes([path], DIFFICULTY)


@pytest.mark.parametrize(
    ("lines_of_file", "message"),
    [
        ([], "p.jsonl: no choice by difficulty; give a file that r1kit compute-optimal wrote"),
        ([{"id": "1"}], 'p.jsonl:1: no "pilot_n"; give a file'),
        ([{"pilot_n": 4, "chosen": True, "low": 0, "budget": "16"}], 'p.jsonl:1: "budget" is no whole number'),
        (
            [{"pilot_n": n, "chosen": True, "low": 0, "budget": 1, "method": "m"} for n in (1, 2)],
            "p.jsonl: choices of se",
        ),
    ],
)
def test_a_malformed_policy_is_named(lines_of_file, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "p.jsonl", lines_of_file)
    with pytest.raises(UserError) as error:
        read_policy("p.jsonl")
    assert str(error.value).startswith(message)
    with pytest.raises(UserError, match=r"none.jsonl: cannot be read"):
        read_policy("none.jsonl")


def test_a_pilot_that_is_too_small_is_named(tmp_path):
    path = str(write_jsonl(tmp_path / "pilot.jsonl", [dict(r) for r in rollouts("1", "7", "8")]))
    with pytest.raises(UserError, match=r'pilot.jsonl:1: "1" has 2 rollouts, fewer than 4; lower --pilot-n'):
        read_difficulty(path, 4, 4)
    empty = str(write_jsonl(tmp_path / "empty.jsonl", []))
    with pytest.raises(UserError, match=r"empty.jsonl: holds no rollouts"):
        read_difficulty(empty, 4, 4)


def test_rollouts_become_votes_become_a_policy(tmp_path):
    """The pipe as one types it: easy problems agree, and for hard ones the best of 4 is better than their majority."""
    pilot = [r for i in range(8) for r in rollouts(f"e{i}", *"7777", answer="7", completion_tokens=5, score=0.5)]
    for i in range(8):
        hard = rollouts(f"h{i}", *"8879", answer="7", completion_tokens=9)
        pilot += [r.derive(score=float(r["completion"] == "7")) for r in hard]
    write_jsonl(tmp_path / "r.jsonl", [dict(r) for r in pilot])
    write_jsonl(tmp_path / "one.jsonl", [dict(r) for r in pilot[::4]])
    for method, source, output in (
        (["majority"], "r", "m4"), (["majority"], "one", "m1"), (["best-of-n", "--by", "score"], "r", "b4"),
    ):  # fmt: skip
        run = r1kit("vote", "--method", *method, f"{source}.jsonl", "-o", f"{output}.jsonl", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    run = r1kit("compute-optimal", "m4.jsonl", "m1.jsonl", "b4.jsonl", "--pilot", "r.jsonl", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "best-of-n by score" in run.stderr
    path = str(write_jsonl(tmp_path / "policy.jsonl", lines(run.stdout)))
    policy = read_policy(path)
    assert policy.choose(1.0, 4) == Choice(None, "majority", 1)  # right at once
    assert policy.choose(0.5, 4) == Choice(None, "best-of-n", 4, "score")
    assert policy.choose(0.5, 1) == Choice(None, "majority", 1)
