"""The engine that runs everywhere: continuous batching on a transformers model's own forward.

A prompt is computed once for its completions; rows leave when they end and others enter; and every token is drawn from
random numbers that belong to (seed, key) alone. So neither the batch nor the order of requests changes a completion.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from r1kit.attention import attention_by
from r1kit.engines import Completion, Request, Sampling
from r1kit.engines.draw import RandomNumbers, draw_tokens
from r1kit.engines.feed import Feed
from r1kit.engines.rows import NAME, ROWS, Rows, check_rows_fit
from r1kit.errors import UserError
from r1kit.model import end_token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHRINK_BELOW = 0.8  # rows move together once fewer than this share of them run
PROMPT_STEP = 16  # prompts are padded to a multiple of so many tokens
PROMPT_TOKENS = 4096  # and go through the model so many tokens at a time


@dataclass
class _Row:
    """A completion that runs."""

    request: Request
    prompt: list[int]
    random: RandomNumbers
    most: int  # tokens
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def next_token(self) -> int:
        return self.tokens[-1] if self.tokens else self.prompt[-1]

    @property
    def position(self) -> int:
        return len(self.prompt) + len(self.tokens) - 1


class TransformersEngine:
    """Completes prompts of token ids, `batch_size` side by side."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", batch_size: int = 256):
        check_rows_fit(model)
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        self.window: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._ends = set(end_token_ids(model, tokenizer).tolist())

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[Request, Completion]]:
        """Yield completions as they finish; the log-probabilities are those at the temperature, before top-p and top-k.

        Raises:
            UserError: the GPU's memory does not suffice.
        """
        feed = Feed(requests, self.batch_size)
        batch = _Batch(self, sampling)
        try:
            while batch.running or batch.waiting or not feed.ended:
                batch.take(feed)
                yield from batch.step()
            feed.close()
        except torch.OutOfMemoryError:
            raise UserError("--batch-size", f"{self.batch_size} rows need more memory", "say a smaller one") from None
        finally:
            feed.stop()

    def close(self) -> None:
        """Let go of the model."""
        del self.model


class _Batch:
    """The rows of an engine that run, and the requests that wait for one."""

    def __init__(self, engine: TransformersEngine, sampling: Sampling):
        self.engine, self.sampling = engine, sampling
        self.model, self.tokenizer = engine.model, engine.tokenizer
        self.rows: list[_Row | None] = []
        self.waiting: list[Request] = []
        self.held = Rows(self.model.config.get_text_config().num_hidden_layers, self.model.device)

    @property
    def running(self) -> int:
        """How many rows run."""
        return sum(row is not None for row in self.rows)

    def take(self, feed: Feed[Request]) -> None:
        """Start the completions there is room for, those of short prompts first; wait only where nothing else runs."""
        size, running = self.engine.batch_size, self.running
        if not self.waiting:
            idle = not running
            self.waiting = feed.take(size, wait=idle)
            if idle and len(self.waiting) < size:  # what has come in the same moment goes together
                self.waiting += feed.take(size - len(self.waiting), wait=False)
            self.waiting.sort(key=lambda request: len(request.prompt))
        free = size - running
        enough = min(len(self.waiting), -(-size // 8))  # a few at a time cost as much as many
        if self.waiting and free >= enough:
            started, self.waiting = self.waiting[:free], self.waiting[free:]
            self._start([self._row(request) for request in started])
        elif not self.waiting and running < SHRINK_BELOW * len(self.rows):
            self._arrange([])

    def _row(self, request: Request) -> _Row:
        prompt = request.prompt
        assert prompt, "a prompt holds a token"
        most = self.sampling.max_tokens if request.max_tokens is None else request.max_tokens
        return _Row(request, prompt, RandomNumbers(self.sampling.seed, request.key), most)  # type: ignore[arg-type]

    def _start(self, started: list[_Row]) -> None:
        self._arrange(started)
        place = {id(row): i for i, row in enumerate(self.rows)}
        prompts = [(prompt, [place[id(row)] for row in rows]) for prompt, rows in groupby(started, lambda r: r.prompt)]
        for _, alike in groupby(prompts, lambda prompt: -(-(len(prompt[0]) - 1) // PROMPT_STEP)):
            self._read_prompts(list(alike))

    def _arrange(self, started: list[_Row]) -> None:
        """Put new rows into the places of those that ended; move rows only where there are too few or many places."""
        needed = self.running + len(started)
        if SHRINK_BELOW * len(self.rows) <= needed <= len(self.rows):
            new = iter(started)
            self.rows = [next(new, None) if row is None else row for row in self.rows]
            return
        kept = [i for i, row in enumerate(self.rows) if row is not None]
        empty = -needed % ROWS
        self.rows = [*(self.rows[i] for i in kept), *started, *[None] * empty]
        self.held.arrange([*kept, *[0] * (len(started) + empty)])

    def _read_prompts(self, prompts: list[tuple[list[int], list[int]]]) -> None:
        """Compute prompts (all but the last token) of like length, and copy each into its rows."""
        width = -(-(len(prompts[-1][0]) - 1) // PROMPT_STEP) * PROMPT_STEP
        if width == 0:
            return
        few = max(1, PROMPT_TOKENS // width)
        causal = torch.ones(width, width, dtype=torch.bool, device=self.model.device).tril()
        for top in range(0, len(prompts), few):
            part = prompts[top : top + few]
            ids = [(prompt[:-1] + [0] * width)[:width] for prompt, _ in part]
            cache = DynamicCache()
            self._forward(ids, causal.expand(len(part), 1, -1, -1), list(range(width)), cache)
            owner = [i for i, (_, rows) in enumerate(part) for _ in rows]
            self.held.fill([row for _, rows in part for row in rows], cache, owner)

    @torch.no_grad()
    def _forward(self, ids: list[list[int]], mask: torch.Tensor, position: list, cache) -> torch.Tensor:
        """Return the logits (R, V) after the last of the tokens (R, T)."""
        device = self.model.device
        positions = torch.tensor(position, device=device)
        with attention_by(NAME, self.model):
            output = self.model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=mask,
                position_ids=positions if positions.ndim == 2 else positions.unsqueeze(0),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return output.logits[:, -1]

    def step(self) -> list[tuple[Request, Completion]]:
        """Draw the next token of every row; return the completions that this ends."""
        if not self.running:
            return []
        position = [0 if row is None else row.position for row in self.rows]
        ids = [[0 if row is None else row.next_token] for row in self.rows]
        logits = self._forward(ids, self.held.place(position), [[p] for p in position], self.held.cache)
        numbers = [0.0 if row is None else row.random.next() for row in self.rows]
        uniform = torch.tensor(numbers, dtype=torch.float64, device=logits.device)
        drawn = [values.tolist() for values in draw_tokens(logits, uniform, self.sampling)]
        ended = []
        for place, (row, token, logprob) in enumerate(zip(self.rows, *drawn, strict=True)):
            if row is None:
                continue
            row.tokens.append(token)
            row.logprobs.append(logprob)
            completion = self._ended(row)
            if completion is not None:
                self.rows[place] = None
                ended.append((row.request, completion))
        return ended

    def _ended(self, row: _Row) -> Completion | None:
        stopped = row.tokens[-1] in self.engine._ends or self._says_stop(row.tokens)
        if not stopped and len(row.tokens) < row.most:
            return None
        text = self.tokenizer.decode(row.tokens, skip_special_tokens=True)
        reason = "stop" if stopped else "length"
        return Completion(text, reason, row.tokens, row.logprobs, len(row.prompt), len(row.tokens))  # type: ignore[arg-type]

    def _says_stop(self, tokens: list[int]) -> bool:
        """Tell whether the last token completes one of the sampling's stop texts."""
        if not self.sampling.stop:
            return False
        longest = max(len(stop.encode()) for stop in self.sampling.stop)
        tail = self.tokenizer.decode(tokens[-longest - 1 :], skip_special_tokens=True)
        return any(stop in tail for stop in self.sampling.stop)
