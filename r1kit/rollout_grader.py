"""The rewards of a training run: graded while other completions are still drawn, and given to TRL as its functions."""

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Any

from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.reward_spec import RewardPart
from r1kit.step_log import column_name


class RolloutGrader:
    """The rewards of a run as TRL calls them: one function a reward over a batch, which is graded once.

    Args:
        problems: with `prompt_tokens`, which their rollouts carry.
        grader: of the run's rewards.
        n: completions of each prompt.
        ends: the ids of the tokens that end a completion.
    """

    def __init__(self, problems: list[Record], grader: Grader, n: int, ends: set[int]):
        self.problems, self.grader, self.n, self.ends = problems, grader, n, ends
        self.last: list[Record] = []  # the scored rollouts of the newest batch
        self._ready: list[Record] | None = None
        self._graded: object = None

    def rollout(self, index: int, sample: int, completion: str, token_ids: list[int]) -> Record:
        """Return the rollout of a completion of the problem `index`."""
        return self.problems[index].derive(
            sample=sample,
            completion=completion,
            finish_reason="stop" if token_ids[-1] in self.ends else "length",
            completion_tokens=len(token_ids),
        )

    def take(self, scored: list[Record]) -> None:
        """Have the next batch that TRL asks for be these, which are graded already."""
        self._ready = scored

    def functions(self) -> list[Any]:
        """Return a reward function for each part of the sum, by its name."""

        def column(part: RewardPart) -> Any:
            def reward(completions: list[str], index: list[int], **columns: Any) -> list[float | None]:
                if self._graded is not completions:
                    self.last = self._ready or self._grade(index, completions, columns["completion_ids"])
                    self._graded, self._ready = completions, None
                return [self._value(scored, part) for scored in self.last]

            reward.__name__ = column_name(part)
            return reward

        return [column(part) for part in self.grader.parts]

    def _grade(self, index: list[int], completions: list[str], token_ids: list[list[int]]) -> list[Record]:
        rows = enumerate(zip(index, completions, token_ids, strict=True))
        rollouts = [self.rollout(i, place % self.n, text, ids) for place, (i, text, ids) in rows]
        return [graded.record for graded in self.grader.grade(rollouts)]

    def _value(self, scored: Record, part: RewardPart) -> float | None:
        return scored["rewards"][part.name] if part in self.grader.parts_for(scored) else None


class Grading:
    """Grades rollouts in a thread, in the order in which they come.

    Args:
        at_once: begin with the first of them; else with `finish`.
    """

    def __init__(self, grader: Grader, at_once: bool):
        self.grader, self.at_once = grader, at_once
        self.waiting: SimpleQueue[Record | None] = SimpleQueue()
        self.scored: list[Record] = []
        self.error: BaseException | None = None
        self.thread = Thread(target=self._grade, daemon=True)
        if at_once:
            self.thread.start()

    def add(self, rollout: Record) -> None:
        """Have a rollout graded."""
        self.waiting.put(rollout)

    def finish(self) -> list[Record]:
        """Return all scored rollouts.

        Raises:
            UserError: a reward cannot be taken.
        """
        self.waiting.put(None)
        if not self.at_once:
            self.thread.start()
        self.thread.join()
        if self.error is not None:
            raise self.error
        return self.scored

    def _grade(self) -> None:
        try:
            self.scored += [graded.record for graded in self.grader.grade(self._come())]
        except BaseException as error:  # raised again by `finish`
            self.error = error

    def _come(self) -> Iterator[Record]:
        while (rollout := self.waiting.get()) is not None:
            yield rollout
