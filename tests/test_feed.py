import threading
from itertools import count

import pytest

from r1kit.engines.feed import Feed


def test_everything_comes_in_order():
    feed, taken = Feed(range(100), 7), []
    while some := feed.take(3, wait=True):
        assert len(some) <= 3
        taken += some
    assert taken == list(range(100))
    assert feed.ended


def test_nobody_waits_for_what_has_not_come():
    come = threading.Event()

    def slowly():
        yield 1
        come.wait()
        yield 2

    feed = Feed(slowly(), 7)
    assert feed.take(5, wait=True) == [1]
    assert feed.take(5, wait=False) == []
    assert not feed.ended
    come.set()
    assert feed.take(5, wait=True) == [2]
    assert feed.take(5, wait=True) == []


def test_no_more_is_read_than_asked_for():
    read = []
    feed = Feed((read.append(i) or i for i in count()), 4)
    assert feed.take(1, wait=True) == [0]
    feed.stop()
    assert len(read) <= 1 + 4 + 2  # taken, waiting, and at the door


def test_what_reading_raises_is_raised_at_the_end():
    def broken():
        yield 1
        raise ValueError("line 2")

    feed = Feed(broken(), 7)
    assert feed.take(5, wait=True) == [1]
    assert feed.take(5, wait=True) == []
    assert feed.ended
    with pytest.raises(ValueError, match="line 2"):
        feed.close()
