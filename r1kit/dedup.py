"""Problems that come again: in the same words, or in nearly the same.

Nearly the same are two problems that share 0.7 of their shingles (Jaccard similarity; a shingle is 5 characters of the
normalised text) and all their figures: numbers, signs and LaTeX commands, in the same order, or in sentences that are
the same in another order, and that have the same gold answer or both none. So problems made from one template are not
merged for its words, and one word changed in twenty does not make a new problem. What it cannot see: where the answer
is none, or yes or no, a word that turns the question around (more, less) counts as little as any other.

Departs from text-dedup and datatrove, which compare words alone: their near duplicates of mathematics are mostly the
same problem with other numbers.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from r1kit.jsonl import Record
from r1kit.laid_out import LaidOut
from r1kit.records import DedupName, SeenKeys, content_hash
from r1kit.removed import Reason, Removed
from r1kit.wording import figures, normalise, prompt_text, tokens

if TYPE_CHECKING:
    from rensa import RMinHash

SIMILARITY = 0.7
SHINGLE = 5  # characters
# candidates are those that share a band: 0.95 of those at 0.7, 0.998 at 0.8, one in 200,000 at 0.05
BANDS, ROWS = 16, 5
SEED = 42
CANDIDATES = 100  # of one problem: the last ones, so that thousands from one template take no time that is quadratic
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|—|\n")


def drop_duplicates(problems: Iterable[Record], how: DedupName, removed: Removed) -> Iterator[Record]:
    """Yield the problems that are no duplicates of one before, each as it comes.

    exact: the normalised prompt decides; 24 bytes to 32 of memory for each problem. near: so it does, and the words as
    this module says; about 1,400 bytes of memory.
    """
    seen: Seen = NearSeen() if how == "near" else ExactSeen()
    for problem in problems:
        reason = seen.like(problem)
        if reason is None:
            yield problem
        else:
            removed.add(problem, reason)


class Seen(Protocol):
    """Problems that have come."""

    def like(self, problem: Record) -> Reason | None:
        """Return why a problem is a duplicate; None where it is new, and from now on seen."""


class ExactSeen:
    """Problems by their normalised prompts: hashes in memory, ids on disk."""

    def __init__(self) -> None:
        self._keys, self._reasons = SeenKeys(), LaidOut()

    def like(self, problem: Record) -> Reason | None:
        """Return which problem has the same prompt."""
        reason = self.find(normalise(prompt_text(problem)))
        if reason is None:
            self.note(Reason("exact", problem["id"]))
        return reason

    def find(self, normal: str) -> Reason | None:
        """Return what was noted of a normalised prompt; None where it is new, and to be noted."""
        before = len(self._keys)
        number = self._keys.number(normal)
        return Reason(*self._reasons[number]) if number < before else None

    def note(self, reason: Reason) -> None:
        """Say why copies of the prompt that came last are to go."""
        self._reasons.append(reason)


class Wording(NamedTuple):
    """What of a problem is compared."""

    text: str
    normal: str
    shingles: frozenset[str]
    figures: list[str]

    def similarity(self, other: "Wording") -> float:
        """Return the Jaccard similarity of the shingles, 0 where it is too small or the figures differ."""
        shared = len(self.shingles & other.shingles)
        share = shared / (len(self.shingles) + len(other.shingles) - shared)
        same = share >= SIMILARITY and (self.figures == other.figures or _figured(self.text) == _figured(other.text))
        return share if same else 0.0


class NearSeen:
    """Problems by MinHash: bands of their signatures in memory, prompts and ids on disk."""

    def __init__(self) -> None:
        from rensa import RMinHashLSH

        self._exact, self._kept = ExactSeen(), LaidOut()
        self._index = RMinHashLSH(threshold=SIMILARITY, num_perm=BANDS * ROWS, num_bands=BANDS)
        self._count = 0

    def like(self, problem: Record) -> Reason | None:
        """Return which problem has the same prompt, or the one with the most similar."""
        wording = wording_of(prompt_text(problem))
        reason = self._exact.find(wording.normal)
        if reason is None:
            reason = self._nearest(problem, wording)
            self._exact.note(reason or Reason("exact", problem["id"]))
        return reason

    def _nearest(self, problem: Record, wording: Wording) -> Reason | None:
        """Return the most similar problem, the first of several; where there is none, keep this one."""
        signature = self.signature(keyed_shingles(wording, problem.get("answer")))
        best, of = 0.0, ""
        for number in sorted(self._index.query(signature))[-CANDIDATES:]:
            kept_id, text = self._kept[number]
            similarity = wording.similarity(wording_of(text))
            if similarity > best:
                best, of = similarity, kept_id
        if best:
            return Reason("near", of, round(best, 3))
        self._index.insert(self._count, signature)
        self._kept.append((problem["id"], wording.text))
        self._count += 1
        return None

    def signature(self, shingles: list[str]) -> "RMinHash":
        """Return the MinHash of shingles."""
        from rensa import RMinHash

        signature = RMinHash(BANDS * ROWS, SEED)
        signature.update(shingles)
        return signature


def wording_of(text: str) -> Wording:
    """Return what of a prompt is compared."""
    words = tokens(text)
    normal = " ".join(words)
    last = max(1, len(normal) - SHINGLE + 1)
    return Wording(text, normal, frozenset(normal[i : i + SHINGLE] for i in range(last)), figures(words))


def keyed_shingles(wording: Wording, answer: object) -> list[str]:
    """Return the shingles, made others by other figures and another gold answer: then nothing is shared."""
    key = content_hash([sorted(wording.figures), None if answer is None else normalise(str(answer))])
    return [key + shingle for shingle in wording.shingles]


def _figured(text: str) -> list[str]:
    """Return the sentences that hold figures, normalised and sorted."""
    sentences = [tokens(sentence) for sentence in _SENTENCE_END.split(text)]
    return sorted(" ".join(words) for words in sentences if figures(words))
