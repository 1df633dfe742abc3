"""Problems that a benchmark holds are taken out, so that nothing is trained on what it is measured on.

As open-r1, GPT-3 and others do, a problem goes that shares an n-gram of words with a benchmark's prompt. This departs
from them in three things:

- The numbers must agree (3 is three): the same in the same order; or those of one prompt stand in a row among those of
  the other, and at least half its words are in n-grams that are shared, as where a longer prompt holds it. The same
  problem with other numbers is another problem, and so are two that share only "where m and n are relatively prime
  positive integers". They are counted in the report; `any_numbers` takes them out too, as open-r1 does.
- A benchmark's prompt of fewer than n words has no n-gram, and open-r1 passes it over. Here it is compared as a whole.
- Case, punctuation, delimiters of formulas and kinds of blanks do not count (open-r1: case and blanks).

Words are divided by blanks and punctuation, so that f(x)=3x-2 is one; each Chinese character and each kana is a word.
Source: open-r1, scripts/decontaminate.py (n = 8); Brown et al. 2020 (arXiv 2005.14165), appendix C (n = 13).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from r1kit.data import read_problems
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.removed import Reason, Removed
from r1kit.wording import blank_divided, normalise, numbers, prompt_text, tokens

NGRAM = 13
PART = 0.5  # of the words of a prompt that another holds
OTHER_NUMBERS = "an n-gram of a benchmark but other numbers"


class Benchmark(NamedTuple):
    """A prompt that is measured on."""

    id: str
    source: str
    words: str  # with blanks between
    numbers: list[str]


class Benchmarks:
    """The prompts of benchmarks, by n-gram; about 300 bytes of memory for each word."""

    def __init__(self, sources: Iterable[str], n: int = NGRAM, any_numbers: bool = False):
        """Read benchmarks: files, embedded or known sets (of which the test split), hub names.

        Raises:
            UserError: one cannot be read, or holds nothing.
        """
        self.n, self._any_numbers = n, any_numbers
        self._by_ngram: dict[str, list[Benchmark]] = {}
        self._short: dict[str, Benchmark] = {}
        for source in sources:
            count = 0
            for count, problem in enumerate(read_problems(source, "test"), start=1):  # noqa: B007
                self._add(problem, source)
            if not count:
                raise UserError(source, "holds no problems", "name a benchmark that does")

    def _add(self, problem: Record, source: str) -> None:
        text = prompt_text(problem)
        words = blank_divided(text)
        benchmark = Benchmark(problem["id"], source, " ".join(words), numbers(tokens(text)))
        if len(words) < self.n:
            self._short.setdefault(normalise(text), benchmark)
        for ngram in set(_ngrams(words, self.n)):
            self._by_ngram.setdefault(ngram, []).append(benchmark)

    def overlap(self, problem: Record) -> Reason | None:
        """Return which benchmark holds a problem, or has an n-gram of it and other numbers."""
        text = prompt_text(problem)
        words = blank_divided(text)
        if len(words) < self.n:
            same = self._short.get(normalise(text))
            return same and Reason("contaminated", same.id, benchmark=same.source)
        return self._first_overlap(text, words)

    def _first_overlap(self, text: str, words: list[str]) -> Reason | None:
        found: dict[str, list[Benchmark]] = {
            ngram: held for ngram in _ngrams(words, self.n) if (held := self._by_ngram.get(ngram))
        }
        if not found:
            return None
        own = numbers(tokens(text))
        for ngram, held in found.items():
            for benchmark in held:
                if self._any_numbers or self._agree(words, own, benchmark):
                    return Reason("contaminated", benchmark.id, ngram=ngram, benchmark=benchmark.source)
        ngram, [benchmark, *_] = next(iter(found.items()))
        return Reason(OTHER_NUMBERS, benchmark.id, ngram=ngram, benchmark=benchmark.source)

    def _agree(self, words: list[str], own: list[str], benchmark: Benchmark) -> bool:
        """Tell whether the numbers of two prompts are the same, or those of one that the other holds."""
        if own == benchmark.numbers:
            return True
        sides = (words, own), (benchmark.words.split(), benchmark.numbers)
        (outer, many), (inner, few) = sorted(sides, key=lambda side: len(side[1]), reverse=True)
        return _spaced(few) in _spaced(many) and _covered(inner, outer, self.n) >= PART


def drop_contaminated(problems: Iterable[Record], benchmarks: Benchmarks, removed: Removed) -> Iterator[Record]:
    """Yield the problems that no benchmark holds, each as it comes."""
    for problem in problems:
        reason = benchmarks.overlap(problem)
        if reason and reason.why != OTHER_NUMBERS:
            removed.add(problem, reason)
            continue
        if reason:
            removed.mention(problem, reason)
        yield problem


def _ngrams(words: list[str], n: int) -> Iterator[str]:
    return (" ".join(words[i : i + n]) for i in range(len(words) - n + 1))


def _covered(inner: list[str], outer: list[str], n: int) -> float:
    """Return the share of the inner words that are in n-grams of the outer."""
    held = set(_ngrams(outer, n))
    places = {i + j for i, ngram in enumerate(_ngrams(inner, n)) if ngram in held for j in range(n)}
    return len(places) / len(inner)


def _spaced(words: list[str]) -> str:
    return f" {' '.join(words)} " if words else ""
