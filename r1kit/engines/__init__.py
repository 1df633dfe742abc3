"""Where completions come from: requests in, and completions out as they finish."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, Protocol

from r1kit.records import Message

# token ids (T,) for the engines that run here; a text or chat messages for a server, which has the tokenizer
Prompt = list[int] | str | list[Message]


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    top_k: int = 0  # 0: all tokens
    stop: tuple[str, ...] = ()  # texts that end a completion; the token that completes one is kept


@dataclass(frozen=True)
class Request:
    """One completion to draw. Requests with the same prompt that follow one another share its computation."""

    key: str  # with the sampling's seed, all that its random numbers depend on
    prompt: Prompt
    max_tokens: int | None = None  # where this one ends before the sampling's


@dataclass(frozen=True)
class Completion:
    """What was drawn: tokens (T,), the end token included, their log-probabilities in nats, and why it ended.

    A server may say less: then `token_ids` and `logprobs` are empty, and `completion_tokens` counts all the same.
    """

    text: str
    finish_reason: Literal["stop", "length", "error"]
    token_ids: list[int]
    logprobs: list[float]
    prompt_tokens: int
    completion_tokens: int
    error: str = ""  # why, where finish_reason is "error"


def seed_of(seed: int, key: str, size: int) -> int:
    """Return a number of `size` bytes that depends on the sampling's seed and a request's key alone."""
    digest = blake2b(f"{seed}\x1f{key}".encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return int.from_bytes(digest, "little")


class Engine(Protocol):
    """Something that completes prompts."""

    @property
    def window(self) -> int | None:
        """The most tokens of prompt and completion together, None where that is not known."""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[Request, Completion]]:
        """Yield completions as they finish. Requests are read while others run, as there is room for them.

        What reading a request raises is raised once those before it are done.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds; it completes nothing any more."""
        ...
