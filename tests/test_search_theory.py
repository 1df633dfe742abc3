"""Search in a world whose accuracy can be worked out: S steps, each right with probability p, whatever came before.

A completion is right where all of its steps are. A perfect process reward model gives a step 1 where the completion is
right up to there, else 0; a late one says so one step later; a random one knows nothing. Below, N is the budget, M the
width, and K = N/M are kept. Measured accuracies are held to the theory within 4.5 standard errors: a bound that a right
program fails once in 150,000 draws of the seed, and the seed is fixed.
"""

import hashlib
import random
from collections.abc import Sequence
from functools import cache
from math import comb, log, sqrt

import pytest

from r1kit.candidates import SearchSummary
from r1kit.engines import Completion, Sampling
from r1kit.jsonl import Record
from r1kit.search import search_problems
from r1kit.search_methods import SearchPlan

END, SEPARATOR, FIRST_WORD = 0, 1, 2
SPELLINGS = 10**9  # of a right or a wrong step, so that no two of a problem are the same
P, S, PROBLEMS = 0.55, 5, 1200


class World:
    """An engine and its tokenizer. A prompt is one token: the number of steps S of its completions.

    A step is a word, then a separator, or the end token after the last step. Even words are right.
    """

    def __init__(self, p=P, window=None):
        self.p, self.window = p, window
        self.calls: list[list[str]] = []  # the keys of each

    def complete(self, requests, sampling):
        """Yield completions, the last request's first: they may finish in any order."""
        requests = list(requests)
        self.calls.append([request.key for request in requests])
        for request in reversed(requests):
            yield request, self._draw(request, sampling)

    def _draw(self, request, sampling):
        numbers = random.Random(f"{sampling.seed}/{request.key}")
        words = sum(token >= FIRST_WORD for token in request.prompt[1:])
        ids, logprobs = [], []
        while len(ids) < min(sampling.max_tokens, request.max_tokens or sampling.max_tokens):
            if (request.prompt[1:] + ids)[-1:] < [FIRST_WORD]:  # after a separator, or nothing
                is_right, spelling = numbers.random() < self.p, numbers.randrange(SPELLINGS)
                if sampling.temperature == 0:
                    is_right, spelling = self.p >= 0.5, 0
                ids.append(FIRST_WORD + 2 * spelling + (not is_right))
                logprobs.append(log(self.p if is_right else 1 - self.p) - log(SPELLINGS))
                words += 1
                continue
            ids.append(END if words == request.prompt[0] else SEPARATOR)
            logprobs.append(0.0)
            if ids[-1] == END or self.decode(ids[-1:]) in sampling.stop:
                return Completion(self.decode(ids), "stop", ids, logprobs, 1, len(ids))
        return Completion(self.decode(ids), "length", ids, logprobs, 1, len(ids))

    def decode(self, ids, skip_special_tokens=True):
        """Return the text of token ids."""
        special = ("" if skip_special_tokens else "<end>", "\n\n")
        return "".join(special[token] if token < FIRST_WORD else spell(token - FIRST_WORD) for token in ids)


def spell(word: int) -> str:
    return f"{('right', 'wrong')[word % 2]}-{word // 2}"


class Perfect:
    """A process reward model that knows which completions are right, but says so `late` steps later."""

    def __init__(self, late=0):
        self.late = late
        self.calls: list[int] = []

    def many_step_scores(self, solutions):
        """Return the scores of each (prompt, steps)."""
        self.calls.append(len(solutions))
        return [[self._score(steps[: max(0, i + 1 - self.late)]) for i in range(len(steps))] for _, steps in solutions]

    @staticmethod
    def _score(steps: Sequence[str]) -> float:
        return float(all(step.startswith("right") for step in steps))

    def count_tokens(self, prompt, steps):
        """Return the tokens of a prompt, 10, and of steps, 3 each."""
        return 10 + 3 * len(steps)


class Random(Perfect):
    """A process reward model whose scores are random, the same for the same text."""

    def many_step_scores(self, solutions):
        """Return the scores of each (prompt, steps)."""
        texts = [(prompt, [" ".join(steps[: i + 1]) for i in range(len(steps))]) for prompt, steps in solutions]
        return [[self._number(prompt + text) for text in prefixes] for prompt, prefixes in texts]

    @staticmethod
    def _number(text: str) -> float:
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**32


def problem(i, steps=S):
    """Return a problem and the token ids of its prompt."""
    return Record({"id": str(i), "prompt": f"problem {i}"}, f"f:{i + 1}"), [steps]


def search(method, n, scorer, world=None, problems=None, sampling=None, **plan):
    """Return what is found for each problem."""
    world, problems = world or World(), problems or [problem(i) for i in range(PROBLEMS)]
    plan = SearchPlan(method, n, **{"batch": 256, **plan})
    return list(search_problems(problems, world, world, sampling or Sampling(), plan, scorer, SearchSummary()))


def is_right(candidate) -> bool:
    return "wrong" not in candidate.text and candidate.finish_reason == "stop"


def accuracy(found) -> float:
    """Return the share of problems whose best candidate is right."""
    return sum(is_right(one.candidates[0]) for one in found) / len(found)


def assert_is(measured: float, expected: float, count: int = PROBLEMS) -> None:
    assert abs(measured - expected) < 4.5 * sqrt(expected * (1 - expected) / count), (measured, expected)


def binomial(n: int, k: int, p: float) -> float:
    return comb(n, k) * p**k * (1 - p) ** (n - k)


def any_right(n: int, width: int, steps: int, p: float = P, late: bool = False) -> float:
    """Return the probability that a beam holds a right candidate after `steps` steps.

    r is the number of the K kept candidates that are right; none kept is right again once none is. In time: of the N
    first steps, or of the M children of each of the r, Bin(N, p) or Bin(M r, p) are right, and up to K of them are
    kept, since they score 1 and all others 0. Late: a child scores 1 where its parent is right, so that up to K of the
    N first steps, or of the M r children of right parents, are kept, and of these Bin(min(K, M r), p) are right.
    """
    places = n // width

    @cache
    def survives(drawn: int, left: int) -> float:
        if late:
            drawn = min(drawn, places)
        return sum(
            binomial(drawn, r, p) * (1.0 if left == 1 else survives(width * min(r, places), left - 1))
            for r in range(1, drawn + 1)
        )

    return survives(n, steps)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_best_of_n_is_pass_at_n(n):
    """One of n completions is right with probability 1 - (1 - p^S)^n, and the perfect model finds it."""
    found = search("best-of-n", n, Perfect())
    assert accuracy(found) == sum(any(map(is_right, one.candidates)) for one in found) / PROBLEMS
    assert_is(accuracy(found), 1 - (1 - P**S) ** n)


@pytest.mark.parametrize(("n", "width"), [(4, 4), (8, 2), (8, 4), (16, 4)])
def test_beam_finds_what_a_chain_of_right_candidates_says(n, width):
    """See `any_right`; with K = 1 that is (1 - (1 - p)^M)^S."""
    assert any_right(4, 4, S) == pytest.approx((1 - (1 - P) ** 4) ** S)
    assert_is(accuracy(search("beam", n, Perfect(), width=width)), any_right(n, width, S))


@pytest.mark.parametrize(("n", "width"), [(4, 4), (8, 2), (8, 4)])
def test_dvts_finds_what_independent_subtrees_say(n, width):
    """A subtree stays right where one of its M children is right at each step: q = (1 - (1 - p)^M)^S.

    One of N/M subtrees does so with probability 1 - (1 - q)^(N/M).
    """
    q = (1 - (1 - P) ** width) ** S
    found = search("dvts", n, Perfect(), width=width)
    assert all(len(one.candidates) == n // width for one in found)
    assert_is(accuracy(found), 1 - (1 - q) ** (n // width))
    assert_is(sum(is_right(c) for one in found for c in one.candidates) * width / n / PROBLEMS, q)


@pytest.mark.parametrize("k", [1, 2])
def test_lookahead_adds_nothing_to_what_a_perfect_model_sees(k):
    """Greedy steps are right where p > 1/2, so that the extended path scores as the path does: it is beam."""
    assert_is(accuracy(search("lookahead", 8, Perfect(), lookahead=k)), any_right(8, 4, S))


def test_lookahead_sees_what_a_late_model_tells_too_late_for_beam():
    """With one step ahead, the late model tells all steps but the last in time: any_right(S - 1) times p.

    Without, it tells each a step too late; of the last step it tells either way nothing.
    """
    beam, ahead = any_right(8, 4, S - 1, late=True) * P, any_right(8, 4, S - 1) * P
    assert ahead - beam > 0.1
    assert_is(accuracy(search("beam", 8, Perfect(late=1))), beam)
    assert_is(accuracy(search("lookahead", 8, Perfect(late=1))), ahead)


@pytest.mark.parametrize("method", ["best-of-n", "beam", "dvts", "lookahead"])
@pytest.mark.parametrize("aggregate", ["last", "mean"])
def test_a_random_model_finds_what_chance_does(method, aggregate):
    """What is kept says nothing about what is right, so that the best one is right with probability p^S."""
    assert_is(accuracy(search(method, 8, Random(), aggregate=aggregate)), P**S)


def test_log_probability_finds_what_is_likely():
    """Right steps are the likelier ones here, so that beam search without a model beats chance."""
    found = search("beam", 8, None)
    assert accuracy(found) - P**S > 4.5 * sqrt(0.25 / PROBLEMS)
    assert all(one.prm_tokens == 0 and one.candidates[0].step_scores is None for one in found)


# by hand: a step costs 2 tokens, a score 10 for the prompt and 3 a step


def test_what_whole_completions_cost():
    [found] = search("best-of-n", 4, Perfect(), problems=[problem(0, steps=3)])
    assert (found.generated_tokens, found.prm_tokens) == (4 * 3 * 2, 4 * (10 + 3 * 3))


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_what_trees_cost(method):
    [found] = search(method, 4, Perfect(), problems=[problem(0, steps=3)], width=2)
    assert (found.generated_tokens, found.prm_tokens) == (3 * 4 * 2, 4 * (13 + 16 + 19))


def test_what_lookahead_costs():
    """Steps 1 and 2 are drawn with one ahead, the last has none: (4 + 4) + (4 + 4) + 4 steps."""
    [found] = search("lookahead", 4, Perfect(), problems=[problem(0, steps=3)], width=2)
    assert (found.generated_tokens, found.prm_tokens) == (20 * 2, 4 * (16 + 19 + 19))


def test_what_looking_past_the_end_costs():
    """Two steps ahead of the second of three, there is one: (4 + 8) + (4 + 4) + 4 steps."""
    [found] = search("lookahead", 4, Perfect(), problems=[problem(0, steps=3)], width=2, lookahead=2)
    assert (found.generated_tokens, found.prm_tokens) == (24 * 2, 4 * (19 + 19 + 19))
