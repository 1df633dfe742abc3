"""TRL's DistillationTrainer on completions that are given, or that r1kit's engine draws from the student.

The loss is TRL's: the generalised Jensen-Shannon divergence of teacher and student at every token of a completion
(Agarwal et al., On-Policy Distillation of Language Models, arXiv 2306.13649).
"""

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from trl import DistillationTrainer
from trl.trainer.utils import pad

from r1kit.drawing import draw
from r1kit.engines import Request
from r1kit.run_folder import checkpoint_step
from r1kit.sampler import by_epoch
from r1kit.sft_rows import UNTRAINED


class TeacherTrainer(DistillationTrainer):
    """Distillation from rows of `input_ids` and `labels`, or of `prompt_ids` alone, which the student completes.

    A row without labels is completed anew each time; random numbers belong to (seed, step, row among all processes).
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._seen: defaultdict[str, float] = defaultdict(float)  # since the last line of the log

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any):
        """Train as TRL does; a run that goes on knows how many micro-steps it has taken."""
        if resume_from_checkpoint:
            self._step = checkpoint_step(Path(resume_from_checkpoint)) * self.args.gradient_accumulation_steps
        return super().train(resume_from_checkpoint, **kwargs)

    def _get_train_sampler(self, dataset=None):
        sampler = super()._get_train_sampler(dataset)
        each = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        return by_epoch(sampler, self, len(sampler) // (each * self.accelerator.num_processes))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch as TRL's own method does: padded prompts and completions, and what of them is trained on."""
        if "labels" in inputs[0]:
            split = [_split(row["input_ids"], row["labels"]) for row in inputs]
            prompts, completions, trained = (list(part) for part in zip(*split, strict=True))
        else:
            prompts = [row["prompt_ids"] for row in inputs]
            completions = self._sample(prompts)
            trained = [[1] * len(row) for row in completions]
        self._seen["tokens/train"] += sum(map(len, prompts)) + sum(map(len, completions))
        end = self._tokenizer.pad_token_id
        mask = self._padded([[1] * len(row) for row in completions], 0, "right")
        chosen = self._padded(trained, 0, "right")
        return {
            "prompt_ids": self._padded(prompts, end, "left"),
            "prompt_mask": self._padded([[1] * len(row) for row in prompts], 0, "left"),
            "completion_ids": self._padded(completions, end, "right"),
            "completion_mask": mask,
            "tool_mask": chosen,  # TRL's name for the tokens of a completion that the loss is taken over
            "num_items_in_batch": self.accelerator.gather(chosen.sum()).sum(),
        }

    def _padded(self, rows: list[list[int]], value: int, side: str) -> torch.Tensor:
        return pad([torch.tensor(row) for row in rows], value, padding_side=side).to(self.accelerator.device)

    def _sample(self, prompts: list[list[int]]) -> list[list[int]]:
        """Return the student's completions of prompts."""
        started = time.perf_counter()
        first = self.accelerator.process_index * len(prompts)
        places = {f"{self.state.global_step}/{first + row}": row for row in range(len(prompts))}
        found: list[list[int]] = [[] for _ in prompts]
        requests = [Request(key, prompts[row]) for key, row in places.items()]
        for request, completion in draw(self, self._tokenizer, requests):
            found[places[request.key]] = completion.token_ids
        self._seen["seconds/generate"] += time.perf_counter() - started
        self._seen["tokens/generate"] += sum(map(len, found))
        return found

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take a micro-step as TRL does."""
        started, drawn = time.perf_counter(), self._seen["seconds/generate"]
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._seen["seconds/train"] += time.perf_counter() - started - (self._seen["seconds/generate"] - drawn)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, with what was spent since the last line."""
        logs |= self._seen
        self._seen = defaultdict(float)
        super().log(logs, start_time)


def _split(ids: list[int], labels: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Return a row's tokens before the first that is trained on, those from there on, and which of these are (1)."""
    first = next(place for place, label in enumerate(labels) if label != UNTRAINED)
    return ids[:first], ids[first:], [int(label != UNTRAINED) for label in labels[first:]]
