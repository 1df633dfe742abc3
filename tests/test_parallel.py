import threading
import time

import pytest

from r1kit.parallel import map_in_order


def flat(lists):
    return [result for some in lists for result in some]


def test_results_come_in_the_order_of_the_items():
    def slow_where_even(number):
        time.sleep(0.01 * (number % 2 == 0))
        return number * 10

    assert flat(map_in_order(slow_where_even, range(50), 4)) == [10 * i for i in range(50)]


def test_nothing_in_nothing_out():
    assert flat(map_in_order(str, [], 2)) == []


def test_a_result_leaves_while_later_items_are_awaited_and_worked_on():
    more, held = threading.Event(), threading.Event()

    def items():
        yield "first"
        yield "held"
        more.wait(30)
        yield "last"

    def work(item):
        if item == "held":
            held.wait(30)
        return item

    results = map_in_order(work, items(), 2)
    assert next(results) == ["first"]
    held.set()
    assert next(results) == ["held"]
    more.set()
    assert flat(results) == ["last"]


def test_a_list_is_no_longer_than_asked_for():
    lists = list(map_in_order(str, range(20), 2, most=3))
    assert max(map(len, lists)) <= 3
    assert flat(lists) == [str(i) for i in range(20)]


def test_an_error_comes_after_the_results_before_it():
    def refuse_seven(number):
        if number == 7:
            raise ValueError("seven")
        return number

    seen = []
    with pytest.raises(ValueError, match="seven"):
        seen.extend(result for some in map_in_order(refuse_seven, range(20), 3) for result in some)
    assert seen == list(range(7))


def test_an_error_of_the_reading_comes_after_what_was_read():
    def items():
        yield 1
        raise OSError("no more")

    seen = []
    with pytest.raises(OSError, match="no more"):
        seen.extend(result for some in map_in_order(str, items(), 2) for result in some)
    assert seen == ["1"]


def test_no_more_is_read_ahead_than_there_is_room_for():
    read = []
    results = map_in_order(str, (read.append(i) or i for i in range(10_000)), 2, most=4)
    next(results)
    time.sleep(0.2)
    assert len(read) < 100
    results.close()


def test_threads_end_when_the_results_are_left():
    before = set(threading.enumerate())
    results = map_in_order(str, range(1000), 3, most=1)
    next(results)
    started = set(threading.enumerate()) - before
    assert len(started) == 4
    results.close()
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)
