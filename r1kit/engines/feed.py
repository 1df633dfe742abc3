"""Read a stream while something else runs: what has come is taken, and nobody waits for what has not."""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Items of an iterable, read by a thread up to `ahead` at a time.

    The thread is a daemon: a read that does not come back keeps nobody from ending.
    """

    GRACE = 1.0  # seconds that the thread has to end; one that computes must not meet the end of Python

    def __init__(self, items: Iterable[T], ahead: int):
        self._waiting: deque[T] = deque()
        self._change = threading.Condition()
        self._ahead, self._ended = ahead, False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, args=(items,), daemon=True)
        self._thread.start()

    def _read(self, items: Iterable[T]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                with self._change:
                    self._change.wait_for(lambda: len(self._waiting) < self._ahead or self._ended)
                    if self._ended:
                        return
                    self._waiting.append(item)
                    self._change.notify_all()
        except BaseException as raised:
            error = raised
        with self._change:
            self._ended, self._error = True, error
            self._change.notify_all()

    def take(self, most: int, wait: bool) -> list[T]:
        """Return what has come, at most `most` items; with `wait`, at least one, [] only at the end."""
        with self._change:
            if wait:
                self._change.wait_for(lambda: self._waiting or self._ended)
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._change.notify_all()
            return taken

    @property
    def ended(self) -> bool:
        """Whether all has been taken."""
        with self._change:
            return self._ended and not self._waiting

    def stop(self) -> None:
        """Read no further."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        self._thread.join(self.GRACE)

    def close(self) -> None:
        """Read no further; raise what reading raised."""
        self.stop()
        if self._error is not None:
            raise self._error
