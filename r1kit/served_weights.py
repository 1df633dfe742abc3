"""Whether vLLM draws from the weights that are trained: its answers held to the model's own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from r1kit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl.generation.vllm_generation import VLLMGeneration

PROMPTS, TOKENS = 8, 16  # that are asked, in each process
GAP = 0.05  # nats a token by which the model may prefer its own greedy tokens to vLLM's; bfloat16 was seen at 0.004
CLEAR = 8.0  # times the noise that the model must have moved by for old weights to show
GROWTH = 10.0  # times the noise that vLLM may be off by; bfloat16 was seen at 1.8
FLOOR = 1e-5  # nats: noise is not taken for less


@dataclass
class Answers:
    """Greedy tokens of some prompts, each with vLLM's log-probability (nats, NaN where it has none)."""

    tokens: list[list[int]]
    logprobs: list[torch.Tensor]


class ServedWeights:
    """Asks vLLM the same prompts after a transfer of weights, until its answers show that transfers work.

    The answers are greedy, and the model that is trained reads them in a pass of its own. Each of vLLM's tokens must be
    the model's own choice, to near-ties. Where vLLM answers as it first did, the log-probabilities tell: given the new
    weights, vLLM's are off the model's by the noise of two implementations, which the first answers measure; with old
    weights they are off by all that the model has moved since. While that is less than `CLEAR` times the noise, the two
    look alike, and vLLM is asked again, after twice as many transfers. In float32 the first update tells, and tells of
    a part of the weights too that is old; in half precision it can take many updates, and an old part can hide.

    A resumed run's first answers are already from new weights: there, old ones show by the tokens, or as it moves on.
    After the conclusion nothing more is asked; `logprob_difference` in the log goes on showing how far vLLM is off.

    Args:
        generation: TRL's, with its engine or server.
    """

    def __init__(self, generation: "VLLMGeneration"):
        self.generation = generation
        self.prompts: list[list[int]] = []
        self.first: Answers | None = None
        self.noise = 0.0  # nats a token
        self.transfers = 0
        self.concluded = False

    def check(self, model: "PreTrainedModel", prompts: Sequence[list[int]], step: int) -> None:
        """Hold vLLM, which has just been given the weights of `model`, to it; all processes call this alike.

        Args:
            prompts: token ids (B, T), of which a few are taken at the first call.
            step: that is about to be taken.

        Raises:
            UserError: vLLM does not serve these weights.
        """
        self.transfers += 1
        if self.concluded or self.transfers & (self.transfers - 1):  # asks after 1, 2, 4, 8, …
            return
        self.prompts = self.prompts or list(prompts)[:PROMPTS]
        answers = self._ask()
        gap, error, drift = self._compare(model, self.first or answers, answers)
        if gap > GAP:
            raise _stale(step, f"the model prefers its own greedy tokens by {gap:.2g} nats a token")
        if self.first is None:
            self.first, self.noise = answers, max(error, FLOOR)
        elif drift > CLEAR * self.noise:
            if error > min(drift / 2, GROWTH * self.noise):
                off = f"its log-probabilities are {error:.2g} nats a token off the model's, {self.noise:.2g} at first"
                raise _stale(step, f"{off}, and the model has moved by {drift:.2g}")
            self.concluded = True

    def _ask(self) -> Answers:
        with _greedy(self.generation) as generation:
            _, tokens, logprobs, _ = generation.generate(self.prompts, None, 1)
        found = [[place[0] for place in row] for row in logprobs]
        return Answers(tokens, [torch.tensor([torch.nan if v is None else v for v in row]) for row in found])

    def _compare(self, model: "PreTrainedModel", first: Answers, now: Answers) -> tuple[float, float, float]:
        """Return three distances from the model, means over all processes' tokens, in nats.

        Of its greedy tokens' log-probabilities from those of vLLM's tokens; and up to where its answers part, of vLLM's
        log-probabilities now, and of those at first.
        """
        accelerator, training = self.generation.accelerator, model.training
        model.eval()
        rows = [self._sum_row(model, first, now, row) for row in range(len(self.prompts))]
        model.train(training)
        sums = torch.stack(rows).sum(0).to(accelerator.device)
        gap, tokens, error, drift, shared = accelerator.gather(sums).view(-1, 5).sum(0).tolist()
        return gap / tokens, error / max(1, shared), drift / max(1, shared)

    def _sum_row(self, model: "PreTrainedModel", first: Answers, now: Answers, row: int) -> torch.Tensor:
        """Return (5,): a prompt's sum of gaps, its tokens, its sums of errors and drifts, and the tokens of those."""
        tokens, before = torch.tensor(now.tokens[row]), torch.tensor(first.tokens[row])
        logprobs = self._read(model, self.prompts[row], now.tokens[row])
        own = logprobs.gather(1, tokens[:, None])[:, 0]
        shared = _until_they_part(now.tokens[row], first.tokens[row])
        old = logprobs[:shared].gather(1, before[:shared, None])[:, 0]
        error, drift = (own - now.logprobs[row])[:shared].abs(), (old - first.logprobs[row][:shared]).abs()
        known = ~(error.isnan() | drift.isnan())
        gaps = logprobs.max(1).values - own
        return torch.stack([gaps.sum(), own.new_tensor(len(own)), error[known].sum(), drift[known].sum(), known.sum()])

    def _read(self, model: "PreTrainedModel", prompt: list[int], tokens: list[int]) -> torch.Tensor:
        """Return the model's log-probabilities (T, V) at the tokens that follow a prompt."""
        accelerator = self.generation.accelerator
        ids = torch.tensor([prompt + tokens], device=accelerator.device)
        with torch.no_grad(), accelerator.autocast():
            logits = model(input_ids=ids, logits_to_keep=len(tokens) + 1, use_cache=False).logits
        return logits[0, -len(tokens) - 1 : -1].float().log_softmax(-1).cpu()


@contextmanager
def _greedy(generation: "VLLMGeneration") -> Iterator["VLLMGeneration"]:
    """Have TRL's generation give a few greedy tokens while the block runs."""
    asked: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_completion_length": min(TOKENS, generation.max_completion_length),
        "structured_outputs_regex": None,
        "generation_kwargs": {},
    }
    before = {name: getattr(generation, name) for name in asked}
    vars(generation).update(asked)
    try:
        yield generation
    finally:
        vars(generation).update(before)


def _until_they_part(one: list[int], other: list[int]) -> int:
    """Return how many tokens have the same tokens before them in both."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place + 1
    return min(len(one), len(other))


def _stale(step: int, why: str) -> UserError:
    remedy = "go on with --resume, which starts vLLM anew, take another version of vLLM, or say --engine transformers"
    return UserError(f"step {step}", f"vLLM does not serve the trained weights: {why}", remedy)
