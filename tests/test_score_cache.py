import pytest

from r1kit.rewards.score_cache import ScoreCache


def scorer(texts, asked):
    """Return what scores texts by their length, and notes which it was asked for."""

    def score(places):
        asked.append([texts[place] for place in places])
        return [len("".join(texts[place])) for place in places]

    return score


def test_a_text_is_scored_once_however_often_it_comes():
    cache, asked = ScoreCache(), []
    for texts in ([("a",), ("bcd",), ("a",)], [("bcd",), ("ef",), ("a",)]):
        assert cache.scores(texts, scorer(texts, asked)) == [len(text) for (text,) in texts]
    assert asked == [[("a",), ("bcd",)], [("ef",)]]


def test_nothing_is_asked_where_all_is_known_or_nothing_is_given():
    cache, asked = ScoreCache(), []
    assert cache.scores([], scorer([], asked)) == []
    cache.scores([("a",)], scorer([("a",)], asked))
    cache.scores([("a",)], scorer([("a",)], asked))
    assert asked == [[("a",)]]


def test_texts_of_other_parts_are_other_texts():
    cache, texts = ScoreCache(), [("ab", "c"), ("a", "bc"), ("abc",), ("", "abc")]
    assert cache.scores(texts, lambda places: list(places)) == [0, 1, 2, 3]


def test_the_memory_is_bounded_and_the_oldest_go():
    cache, asked = ScoreCache(most=3), []
    texts = [(str(number),) for number in range(10)]
    assert cache.scores(texts, scorer(texts, asked)) == [1] * 10  # more at once than are kept
    assert len(cache.known) == 3
    again = [("9",), ("0",)]
    cache.scores(again, scorer(again, asked))
    assert asked[1] == [("0",)]
    assert len(cache.known) == 3


def test_what_fails_is_not_kept():
    cache = ScoreCache()

    def fail(places):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.scores([("a",)], fail)
    assert cache.scores([("a",)], lambda places: [5]) == [5]


def test_half_a_character_has_a_hash_too():
    assert ScoreCache().scores([("\ud800",)], lambda places: [1]) == [1]
