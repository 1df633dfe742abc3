"""The embedded preference pairs: what they hold, what tells the sides apart, and what does not."""

from collections import Counter

import pytest

from r1kit.data import Request, open_rows, read_problems, select_problems
from r1kit.embedded.facts import all_facts
from r1kit.errors import UserError
from r1kit.exact_match import equal_texts, stated_text
from r1kit.rewards.format import format_reward
from r1kit.rewards.language import language_of
from r1kit.rewards.model import final_text

PAIRS = {split: list(open_rows(Request("preferences", split))[1]) for split in ("train", "test")}
FACTS = {fact.question: fact for fact in all_facts()}
ALL = [*PAIRS["train"], *PAIRS["test"]]


def of(why):
    return [pair for pair in ALL if pair["why"] == why]


def test_each_pair_says_what_is_wrong_with_the_rejected_side():
    assert 6500 <= len(PAIRS["train"]) <= 7500
    assert 500 <= len(PAIRS["test"]) <= 700
    for pairs in PAIRS.values():
        assert {pair["why"] for pair in pairs} == {"wrong", "aside", "cut", "rude", "language"}
    assert all(pair["chosen"] and pair["rejected"] and pair["chosen"] != pair["rejected"] for pair in ALL)
    assert len({(pair["prompt"], pair["chosen"], pair["rejected"]) for pair in ALL}) == len(ALL)


def test_no_prompt_is_in_both_splits_and_the_facts_prompts_stay_where_they_are():
    prompts = {split: {pair["prompt"] for pair in pairs} for split, pairs in PAIRS.items()}
    assert not prompts["train"] & prompts["test"]
    for split, asked in prompts.items():
        assert asked & set(FACTS) == {problem["prompt"] for problem in read_problems("facts", split)}


def test_right_answers_are_right_and_wrong_ones_wrong_by_exact_match():
    """Where the sentence says no more than the answer, as exact match reads it."""
    for pair in of("wrong"):
        fact = FACTS.get(pair["prompt"])
        if fact is None:
            continue
        assert fact.answer in pair["chosen"]
        assert not equal_texts(fact.answer, stated_text(pair["rejected"]))
        assert not equal_texts(fact.answer, final_text(pair["rejected"]).rstrip(".。"))


def test_a_cut_answer_ends_before_its_last_word_does():
    for pair in of("cut"):
        fact = FACTS.get(pair["prompt"])
        if fact is not None:
            assert not final_text(pair["rejected"]).rstrip("”.。 ").endswith(fact.answer)


def test_both_languages_are_asked_and_answered_in_theirs():
    counts = Counter(pair["language"] for pair in ALL)
    assert min(counts.values()) > 0.4 * len(ALL)
    told = [(language_of(pair["chosen"]), language_of(pair["rejected"]), pair["language"]) for pair in of("language")]
    known = [(chosen, rejected, asked) for chosen, rejected, asked in told if chosen and rejected]
    assert len(known) > 0.5 * len(told)
    assert sum(chosen == asked != rejected for chosen, rejected, asked in known) > 0.95 * len(known)


def test_a_part_of_them_is_in_r1s_form_on_both_sides():
    formed = [pair for pair in ALL if format_reward(pair["chosen"])]
    assert 0.15 * len(ALL) < len(formed) < 0.35 * len(ALL)
    assert all("<think>" in pair["rejected"] or pair["why"] == "cut" for pair in formed)


@pytest.mark.parametrize("split", PAIRS)
def test_length_alone_explains_little(split):
    """Neither "the longer one" nor "the shorter one" is right more often than by chance, in no kind of pair."""
    for why in ("wrong", "aside", "cut", "rude", "language"):
        differences = [len(p["chosen"]) - len(p["rejected"]) for p in PAIRS[split] if p["why"] == why]
        longer, shorter = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        assert abs(longer - shorter) <= 0.13 * len(differences)
        assert longer + shorter > 0.75 * len(differences)


def test_every_prompt_has_several_pairs():
    counts = Counter(pair["prompt"] for pair in ALL)
    assert min(counts.values()) >= 2
    assert sum(counts.values()) / len(counts) > 3.5


def test_they_are_a_source_of_their_own():
    rows = list(select_problems(Request("preferences", "test"), limit=2))
    assert [row.keys() >= {"id", "prompt", "chosen", "rejected", "language", "why"} for row in rows] == [True, True]
    assert [row["id"] for row in rows] == ["preferences-test-0", "preferences-test-1"]
    with pytest.raises(UserError, match="the nearest is preferences"):
        list(select_problems(Request("preference")))
