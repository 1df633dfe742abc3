"""Work on a stream of items side by side, in order: results leave while later items are still awaited or worked on."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(function: Callable[[T], R], items: Iterable[T], workers: int, most: int = 64) -> Iterator[list[R]]:
    """Yield the results of `function` on items, in the items' order, in lists of what is ready, at most `most` long.

    Items are read in a thread of their own, up to 4 * `workers` + `most` ahead. What reading or the function raises is
    raised in the item's place, after the results before it. The threads are daemons: nobody waits for them when work is
    left.
    """
    tasks: SimpleQueue[tuple[Future[R], T] | None] = SimpleQueue()
    results: SimpleQueue[Future[R] | None] = SimpleQueue()
    room = threading.Semaphore(4 * workers + most)
    left = threading.Event()

    def read() -> None:
        try:
            for item in items:
                room.acquire()
                if left.is_set():
                    return
                future: Future[R] = Future()
                tasks.put((future, item))
                results.put(future)
        except BaseException as error:
            broken: Future[R] = Future()
            broken.set_exception(error)
            results.put(broken)
        results.put(None)
        for _ in range(workers):
            tasks.put(None)

    def work() -> None:
        while (task := tasks.get()) is not None and not left.is_set():
            future, item = task
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)

    for target in (read, *[work] * workers):
        threading.Thread(target=target, daemon=True).start()
    try:
        yield from _ready(results, room, most)
    finally:
        left.set()
        room.release()
        for _ in range(workers):
            tasks.put(None)


def _ready(results: "SimpleQueue[Future[R] | None]", room: threading.Semaphore, most: int) -> Iterator[list[R]]:
    """Yield what is done at the head of the queue, at least one result at a time, until its end (None)."""
    waiting: deque[Future[R] | None] = deque()
    while True:
        while not waiting or not results.empty():
            waiting.append(results.get())
        if waiting[0] is None:
            return
        problem = waiting[0].exception()  # waits for it
        if problem is not None:
            raise problem
        done: list[R] = []
        while waiting and len(done) < most and _succeeded(waiting[0]):
            done.append(waiting.popleft().result())  # type: ignore[union-attr]
            room.release()
        yield done


def _succeeded(future: "Future[R] | None") -> bool:
    return future is not None and future.done() and future.exception() is None
