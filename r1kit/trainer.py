"""TRL's GRPOTrainer with r1kit's own generation and rewards, and with log-probabilities computed without padding.

The methods of TRL 1.16 that it overrides are no public API: tests/test_trainer.py holds loss and gradient to TRL's own.
"""

import time
from collections import defaultdict
from typing import Any

import torch
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from r1kit.engines import Request, Sampling
from r1kit.engines.transformers import TransformersEngine
from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.reward_spec import RewardPart

CHUNK_TOKENS = 4096  # tokens, padding included, of one forward pass over rows of like length


class ReasoningTrainer(GRPOTrainer):
    """GRPO on rendered prompts, with seconds and tokens of generation and of training in its log.

    Beside TRL's arguments:
        add_special_tokens: whether the tokenizer adds its special tokens to a prompt.
    """

    def __init__(self, *args: Any, add_special_tokens: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_special_tokens = add_special_tokens
        self._spent: defaultdict[str, float] = defaultdict(float)  # since the last line of the log

    def _tokenize_prompts(self, prompts: list[str]):
        ids = self.processing_class(text=prompts, add_special_tokens=self.add_special_tokens)["input_ids"]
        return ids, None, {}

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        """Return the completions (token ids) of prompts, which stand repeated, once for each completion."""
        started = time.perf_counter()
        if self.use_vllm:
            completion_ids, logprobs = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        else:
            completion_ids, logprobs = self._sample(prompt_ids), None
        self._spent["seconds/generate"] += time.perf_counter() - started
        self._spent["tokens/generate"] += sum(map(len, completion_ids))
        return completion_ids, logprobs

    def _sample(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """Sample one completion for each row; its random numbers belong to (seed, step, process, row)."""
        sampling = Sampling(self.temperature, self.top_p, self.max_completion_length, self.args.seed)
        place = f"{self.state.global_step}/{self.accelerator.process_index}"
        requests = [Request(f"{place}/{row}", prompt) for row, prompt in enumerate(prompt_ids)]
        with unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as model:
            engine = TransformersEngine(model, self.processing_class, len(requests))
            drawn = {request.key: completion.token_ids for request, completion in engine.complete(requests, sampling)}
        return [drawn[request.key] for request in requests]

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs
    ):
        """Return log-probabilities and entropies (B, C) of the completions, as TRL does, without its padding.

        Rows of like length go through the model together, trimmed to the widest of them; what is cut off is masked.
        """
        prompt_width = input_ids.shape[1] - logits_to_keep
        prompts, completions = attention_mask[:, :prompt_width].sum(1), attention_mask[:, prompt_width:].sum(1)
        chunks = cut_by_length((prompts + completions).tolist(), batch_size or len(input_ids))
        parts = []
        for rows in chunks:
            keep = max(1, int(completions[rows].max()))
            window = slice(prompt_width - int(prompts[rows].max()), prompt_width + keep)
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
                model, input_ids[rows, window], attention_mask[rows, window], keep, **kwargs
            )
            pad = (0, logits_to_keep - keep)
            entropies = None if entropies is None else torch.nn.functional.pad(entropies, pad)
            parts.append((torch.nn.functional.pad(logps, pad), entropies, aux_loss))
        back = torch.argsort(torch.tensor([row for rows in chunks for row in rows], device=input_ids.device))
        logps, entropies, aux_losses = zip(*parts, strict=True)
        return (
            torch.cat(logps)[back],
            None if entropies[0] is None else torch.cat(entropies)[back],
            None if aux_losses[0] is None else torch.stack(aux_losses).mean(),
        )

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take one (micro-)step as TRL does; what is neither generation nor reward is counted as training."""
        started, prepared = time.perf_counter(), self._spent["seconds/prepare"]
        loss = super().training_step(model, inputs, num_items_in_batch)
        preparing = self._spent["seconds/prepare"] - prepared
        self._spent["seconds/train"] += time.perf_counter() - started - preparing
        return loss

    def _prepare_inputs(self, generation_batch):
        started = time.perf_counter()
        inputs = super()._prepare_inputs(generation_batch)
        self._spent["seconds/prepare"] += time.perf_counter() - started
        self._spent["tokens/train"] += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
        return inputs

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, with the seconds and tokens spent since the last line."""
        logs.update(self._spent)
        self._spent.clear()
        super().log(logs, start_time)


def cut_by_length(lengths: list[int], max_rows: int) -> list[list[int]]:
    """Return the rows in chunks of at most `max_rows` rows and `CHUNK_TOKENS` padded tokens, longest rows first."""
    chunks: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        full = not chunks or len(chunks[-1]) == max_rows
        if full or (len(chunks[-1]) + 1) * lengths[chunks[-1][0]] > CHUNK_TOKENS:
            chunks.append([])
        chunks[-1].append(row)
    return chunks


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
        self._graded: object = None

    def functions(self) -> list[Any]:
        """Return a reward function for each part of the sum, by its name."""

        def column(part: RewardPart) -> Any:
            def reward(completions: list[str], index: list[int], **columns: Any) -> list[float | None]:
                if self._graded is not completions:
                    rows = enumerate(zip(index, completions, columns["completion_ids"], strict=True))
                    rollouts = [self._rollout(place % self.n, *row) for place, row in rows]
                    self.last = [graded.record for graded in self.grader.grade(rollouts)]
                    self._graded = completions
                return [self._value(scored, part) for scored in self.last]

            reward.__name__ = part.name if part.kind is None else f"{part.kind}={part.name}"
            return reward

        return [column(part) for part in self.grader.parts]

    def _value(self, scored: Record, part: RewardPart) -> float | None:
        return scored["rewards"][part.name] if part in self.grader.parts_for(scored) else None

    def _rollout(self, sample: int, index: int, completion: str, token_ids: list[int]) -> Record:
        return self.problems[index].derive(
            sample=sample,
            completion=completion,
            finish_reason="stop" if token_ids[-1] in self.ends else "length",
            completion_tokens=len(token_ids),
        )
