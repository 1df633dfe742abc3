import pytest

from r1kit.choosing import choose, jaccard_distance
from r1kit.jsonl import Record


def rollout(sample, reward, tokens, completion=None, name="p"):
    text = f"text {sample}" if completion is None else completion
    fields = {"id": name, "sample": sample, "reward": reward, "completion_tokens": tokens, "completion": text}
    return Record(fields, "f:1")


POOL = [rollout(0, 1.0, 9), rollout(1, 1.2, 7), rollout(2, 1.2, 5), rollout(3, 1.0, 3), rollout(4, 1.2, 5)]


def samples(select, keep=None, pool=POOL, seed=0, accept=lambda _: True):
    return [r["sample"] for r in choose(pool, keep, select, seed, accept)]


def test_best_is_by_reward_then_length_then_sample():
    assert samples("best") == [2, 4, 1, 3, 0]
    assert samples("best", 2, pool=POOL[::-1]) == [2, 4]


def test_shortest_and_longest_give_ties_to_the_better_one():
    assert samples("shortest") == [3, 2, 4, 1, 0]
    assert samples("longest") == [0, 1, 2, 4, 3]
    assert samples("shortest", pool=[rollout(0, 1.0, 5), rollout(1, 1.2, 5)]) == [1, 0]


def test_length_is_characters_where_tokens_were_not_counted():
    assert samples("shortest", pool=[rollout(0, 1.0, None, "abc"), rollout(1, 1.0, None, "ab")]) == [1, 0]


def test_random_belongs_to_seed_and_id_and_not_to_the_order():
    many = [rollout(i, 1.0, i) for i in range(20)]
    assert samples("random", 5, many) == samples("random", 5, many[::-1])
    assert samples("random", 5, many) != samples("random", 5, many, seed=1)
    other = [rollout(i, 1.0, i, name="q") for i in range(20)]
    assert samples("random", 5, many) != samples("random", 5, other)


def test_every_rollout_can_be_chosen_at_random():
    many = [rollout(i, 1.0, i) for i in range(4)]
    assert {samples("random", 1, many, seed)[0] for seed in range(50)} == {0, 1, 2, 3}


def test_diverse_takes_the_best_and_then_the_farthest():
    pool = [
        rollout(0, 1.2, 5, "add two and three to get five"),
        rollout(1, 1.0, 5, "add two and three to get seven"),
        rollout(2, 1.0, 6, "count up from nothing at all"),
        rollout(3, 1.0, 7, "count up from nothing at all now"),
    ]
    assert samples("diverse", 1, pool) == [0]
    assert samples("diverse", 2, pool) == [0, 2]
    assert samples("diverse", None, pool) == [0, 2, 1, 3]  # 1: 4 of 6 3-grams are those of 0; 3: 4 of 5 are those of 2


def test_diverse_is_greedy_max_min_distance():
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    pool = [
        rollout(i, 1.0, 10, " ".join(words[(i * k) % 10] for k in range(1, 12)) + f" {words[i % 3]}") for i in range(9)
    ]
    grams = [{tuple(r["completion"].split()[k : k + 3]) for k in range(10)} for r in pool]
    chosen = [0]
    while len(chosen) < 9:
        left = [i for i in range(9) if i not in chosen]
        chosen.append(max(left, key=lambda i: min(jaccard_distance(grams[i], grams[j]) for j in chosen)))
    assert samples("diverse", None, pool) == chosen


@pytest.mark.parametrize("select", ["best", "random", "shortest", "longest", "diverse"])
def test_what_is_not_accepted_is_as_if_it_were_not_there(select):
    pool = [rollout(i, 1.0 + i % 3, 5 + i % 4, " ".join(f"w{(i * j) % 7}" for j in range(12))) for i in range(12)]
    odd = [r for r in pool if r["sample"] % 2]
    chosen = samples(select, 3, pool, accept=lambda r: r["sample"] % 2)
    if select != "random":
        assert chosen == samples(select, 3, odd)
    assert len(chosen) == 3
    assert all(sample % 2 for sample in chosen)


def test_no_more_are_asked_for_than_needed():
    asked = []
    samples("best", 2, accept=lambda r: asked.append(r["sample"]) or r["sample"] != 2)
    assert asked == [2, 4, 1]


def test_distance_is_one_minus_the_shared_part():
    assert jaccard_distance(frozenset("abc"), frozenset("bcd")) == 0.5
    assert jaccard_distance(frozenset(), frozenset()) == 0
