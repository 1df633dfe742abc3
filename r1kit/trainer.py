"""TRL's GRPOTrainer with r1kit's own sampling and rewards, groups that teach, and exact checkpoints."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from r1kit.drawing import draw
from r1kit.engines import Request
from r1kit.engines.vllm_training import engine_as_trained, level
from r1kit.jsonl import Record, read_records, write_records
from r1kit.last_steps import WaitingKinds
from r1kit.rollout_grader import Grading, RolloutGrader
from r1kit.sampler import by_epoch
from r1kit.served_weights import ServedWeights
from r1kit.step_log import has_signal
from r1kit.training_pass import ExactPass

# of a checkpoint, beside the trainer's own files
BATCH, ROLLOUTS, REFERENCE = "batch-{}.safetensors", "batch-{}.jsonl", "reference.safetensors"


@dataclass
class Drawn:
    """A completion of one of TRL's rows, graded."""

    row: dict[str, Any]
    token_ids: list[int]
    logprobs: list[float] | None
    scored: Record


class ReasoningTrainer(ExactPass):
    """GRPO on rendered prompts, with seconds and tokens of its phases in its log.

    Beside TRL's arguments and those of `ExactPass`:
        rollouts: the grader of the run; its problems are those of the data set's column `index`.
        add_special_tokens: whether the tokenizer adds its special tokens to a prompt.
        dynamic_sampling: how often in a step groups without signal are replaced by fresh ones, at most (DAPO, arXiv
            2503.14476, section 3.2).
        waiting: which problems wait for the last steps.
    """

    _last_loaded_step: int  # TRL's: the step whose weights vLLM has

    def __init__(
        self,
        *args: Any,
        rollouts: RolloutGrader | None = None,
        add_special_tokens: bool = True,
        dynamic_sampling: int = 0,
        waiting: WaitingKinds | None = None,
        **kwargs: Any,
    ):
        with engine_as_trained(kwargs["model"], kwargs["args"]):
            super().__init__(*args, **kwargs)
        self.rollouts, self.add_special_tokens = rollouts, add_special_tokens
        self.dynamic_sampling, self.waiting = dynamic_sampling, waiting
        self._drawn: list[Drawn] | None = None  # what TRL is about to ask for
        self._old_logps: list[list[float]] | None = None
        self._served = ServedWeights(self.vllm_generation) if self.use_vllm else None

    # --- sampling and rewards

    def _generate_and_score_completions(self, inputs):
        """Sample, grade and, where asked, replace groups; then have TRL make a batch of it."""
        if self.rollouts is not None and self.model.training:
            self._drawn = self._draw_with_signal(inputs)
            self.rollouts.take([drawn.scored for drawn in self._drawn])
            inputs = [drawn.row for drawn in self._drawn]
        started, spent = time.perf_counter(), self._phases()
        output = super()._generate_and_score_completions(inputs)
        self._seen["seconds/score"] += time.perf_counter() - started - (self._phases() - spent)
        if self._drawn is not None and "drop" in self.parts:
            self._level_out(output["advantages"], self._drawn)
        self._drawn = self._old_logps = None
        return output

    def _phases(self) -> float:
        return sum(self._seen.get(f"seconds/{phase}", 0.0) for phase in ("sync", "generate", "grade"))

    def _level_out(self, advantages: torch.Tensor, drawn: list[Drawn]) -> None:
        """Set the advantages of groups without signal to the 0 that rounding keeps them from."""
        if self.multi_objective_aggregation != "sum_then_normalize" or len(drawn) % self.num_generations:
            return
        for top in self._groups_without_signal(drawn):
            advantages[top : top + self.num_generations] = 0

    def _draw_with_signal(self, inputs: list[dict[str, Any]]) -> list[Drawn]:
        """Return graded completions of the rows, groups without signal replaced as often as dynamic sampling may."""
        drawn = self._draw(inputs, 0)
        used = {row["index"] for row in inputs}
        for attempt in range(1, self.dynamic_sampling + 1):
            level = self._groups_without_signal(drawn)
            waiting = torch.tensor(len(level), device=self.accelerator.device)
            if not int(self.accelerator.gather(waiting).sum()):
                break
            fresh = self._fresh(len(level), attempt, used)
            rows = [row for row in fresh for _ in range(self.num_generations)]
            redrawn = self._draw(rows, attempt)
            for place, top in enumerate(level):
                start = place * self.num_generations
                drawn[top : top + self.num_generations] = redrawn[start : start + self.num_generations]
            self._seen["resampled"] += len(level)
        return drawn

    def _groups_without_signal(self, drawn: list[Drawn]) -> list[int]:
        """Return where groups stand whose rewards do not differ."""
        n = self.num_generations
        return [t for t in range(0, len(drawn), n) if not has_signal(one.scored for one in drawn[t : t + n])]

    def _fresh(self, count: int, attempt: int, used: set[int]) -> list[dict[str, Any]]:
        """Return rows of problems that this step has not used, other ones in each process."""
        chance = random.Random(f"{self.args.seed}/{self.state.global_step}/{attempt}")
        drawn = self.waiting.drawn_at(self.state.global_step) if self.waiting else None
        order = list(range(len(self.train_dataset))) if drawn is None else drawn.copy()
        chance.shuffle(order)
        mine = order[self.accelerator.process_index :: self.accelerator.num_processes]
        free = [index for index in mine if index not in used]
        chosen = (free + [index for index in mine if index in used])[:count]
        chosen += [order[0]] * (count - len(chosen))
        used.update(chosen)
        return [self.train_dataset[index] for index in chosen]

    def _draw(self, rows: list[dict[str, Any]], attempt: int) -> list[Drawn]:
        """Return a graded completion of each row (a prompt stands there once for each completion)."""
        assert self.rollouts is not None
        rollouts = self.rollouts
        prompt_ids, _, _ = self._tokenize_prompts([row["prompt"] for row in rows])
        grading = Grading(rollouts.grader, at_once="overlap" in self.parts)
        order: list[int] = []
        top = self.accelerator.process_index * len(rows)  # a group may begin in another process

        def grade(place: int, token_ids: list[int], text: str) -> None:
            order.append(place)
            sample = (top + place) % self.num_generations
            grading.add(rollouts.rollout(rows[place]["index"], sample, text, token_ids))

        token_ids, logprobs = self._complete(prompt_ids, attempt, grade)
        started = time.perf_counter()
        scored = dict(zip(order, grading.finish(), strict=True))
        self._seen["seconds/grade"] += time.perf_counter() - started
        return [
            Drawn(row, ids, None if logprobs is None else logprobs[place], scored[place])
            for place, (row, ids) in enumerate(zip(rows, token_ids, strict=True))
        ]

    def _tokenize_prompts(self, prompts: list[str]):
        if not prompts:  # a process may have nothing to draw anew
            return [], None, {}
        return self.processing_class(text=prompts, add_special_tokens=self.add_special_tokens)["input_ids"], None, {}

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        """Return the completions (token ids) of prompts, which stand repeated, once for each completion."""
        logprobs: list[Any] | None
        if self._drawn is not None:
            token_ids = [drawn.token_ids for drawn in self._drawn]
            logprobs = [drawn.logprobs for drawn in self._drawn]
        else:
            token_ids, logprobs = self._complete(prompt_ids, 0, lambda place, ids, text: None)
        logprobs = None if not logprobs or logprobs[0] is None else logprobs
        self._old_logps = None if self.use_vllm else logprobs
        return token_ids, logprobs

    def _complete(self, prompt_ids, attempt: int, finished) -> tuple[list[list[int]], list[list[float]] | None]:
        """Return token ids and log-probabilities of a completion of each prompt; `finished` hears of each one."""
        self._sync(prompt_ids)
        started = time.perf_counter()
        if "engine" in self.parts and not self.use_vllm:
            token_ids, logprobs = self._sample(prompt_ids, attempt, finished)
        else:
            asked = level(prompt_ids, self.accelerator, self.eos_token_ids[0]) if self.use_vllm else prompt_ids
            token_ids, logprobs = super()._generate_single_turn(asked, None, {}, self.num_generations)
            token_ids, logprobs = token_ids[: len(prompt_ids)], logprobs and logprobs[: len(prompt_ids)]
            for place, ids in enumerate(token_ids):
                finished(place, ids, self.processing_class.decode(ids, skip_special_tokens=True))
        self._seen["seconds/generate"] += time.perf_counter() - started
        self._seen["tokens/generate"] += sum(map(len, token_ids))
        return token_ids, logprobs

    def _sync(self, prompt_ids) -> None:
        """Give vLLM the weights where they are others than it has, and hold its answers to them."""
        if self._served is None or self._last_loaded_step == self.state.global_step:
            return
        started = time.perf_counter()
        self.vllm_generation.sync_weights()
        self._seen["seconds/sync"] += time.perf_counter() - started
        self._last_loaded_step = self.state.global_step
        self._served.check(self.model, prompt_ids[:: self.num_generations], self.state.global_step + 1)

    def _sample(self, prompt_ids, attempt: int, finished) -> tuple[list[list[int]], list[list[float]]]:
        """Sample in r1kit's engine; random numbers belong to (seed, step, row among all processes, attempt)."""
        process, count = self.accelerator.process_index, len(prompt_ids)
        names = [f"{process}.{row}" if attempt else f"{process * count + row}" for row in range(count)]
        places = {f"{self.state.global_step}/{name}/{attempt}": row for row, name in enumerate(names)}
        requests = [Request(key, prompt_ids[row]) for key, row in places.items()]
        token_ids: list[list[int]] = [[] for _ in requests]
        logprobs: list[list[float]] = [[] for _ in requests]
        for request, completion in draw(self, self.processing_class, requests):
            place = places[request.key]
            token_ids[place], logprobs[place] = completion.token_ids, completion.logprobs
            finished(place, completion.token_ids, completion.text)
        return token_ids, logprobs

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, logits_to_keep, *args, **kwargs):
        """Return what TRL asks for; the old log-probabilities are those at which the engine drew, where it may."""
        if self._old_logps is not None and self._draws_exactly and model is self.model:
            found, self._old_logps = self._old_logps, None
            logps = torch.zeros(input_ids.shape[0], logits_to_keep, device=input_ids.device)
            for row, values in enumerate(found):
                logps[row, : len(values)] = torch.tensor(values)
            return logps, None, None
        return super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
        )

    @property
    def _draws_exactly(self) -> bool:
        """Tell whether TRL wants old log-probabilities, and the engine's are the same ones: in float32."""
        wanted = self.args.gradient_accumulation_steps % (self.args.steps_per_generation * self.num_iterations) != 0
        mixed = self.args.bf16 or self.args.fp16 or self.model.dtype != torch.float32
        return wanted and not mixed and not torch.is_grad_enabled()

    # --- the log

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take one (micro-)step as TRL does; what is not preparing a batch is counted as training."""
        started, prepared = time.perf_counter(), self._seen["seconds/prepare"]
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._seen["seconds/train"] += time.perf_counter() - started - (self._seen["seconds/prepare"] - prepared)
        return loss

    def _prepare_inputs(self, generation_batch):
        started = time.perf_counter()
        inputs = super()._prepare_inputs(generation_batch)
        self._seen["seconds/prepare"] += time.perf_counter() - started
        self._seen["tokens/train"] += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
        return inputs

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, with what was spent and seen since the last line."""
        seen, self._seen = self._seen, type(self._seen)(float)
        rows, trained = seen.pop("rows", 0), seen.pop("rows/trained", 0)
        logs["rows/trained"] = trained / rows if rows else 1.0
        tokens, difference = seen.pop("logps", 0), seen.pop("logps/difference", 0)
        if tokens:
            logs["logprob_difference"] = difference / tokens
        logs.update(seen)
        super().log(logs, start_time)

    # --- checkpoints

    def _get_train_sampler(self, dataset=None):
        sampler = super()._get_train_sampler(dataset)
        return by_epoch(sampler, self, len(sampler) // self.args.generation_batch_size, self.waiting)

    def _save_checkpoint(self, model, trial) -> None:
        """Save what TRL leaves out first: a checkpoint is whole when its last file, the trainer's state, is there."""
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        number = self.accelerator.process_index
        amid = self._step % (self.args.steps_per_generation * self.num_iterations)  # of a batch of several updates
        held = {
            f"{place}/{name}": value.clone(memory_format=torch.contiguous_format)
            for place, batch in enumerate((self._buffered_inputs or []) if amid else [])
            for name, value in batch.items()
            if isinstance(value, torch.Tensor)
        }
        save_file({"step": torch.tensor(self._step), **held}, folder / BATCH.format(number))
        write_records(iter(self.rollouts.last if amid and self.rollouts else []), str(folder / ROLLOUTS.format(number)))
        if self.args.sync_ref_model and self.accelerator.is_main_process:
            weights = self.accelerator.unwrap_model(self.ref_model).state_dict()
            save_file({name: value.clone() for name, value in weights.items()}, folder / REFERENCE)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        folder, number = Path(checkpoint), self.accelerator.process_index
        state = load_file(folder / BATCH.format(number))
        self._step = int(state.pop("step"))
        batches: dict[int, dict[str, Any]] = {}
        for name, value in state.items():
            place, _, field = name.partition("/")
            batches.setdefault(int(place), {})[field] = value.to(self.accelerator.device)
        self._buffered_inputs = [batches[place] for place in sorted(batches)] or None
        if self.rollouts is not None:
            self.rollouts.last = list(read_records(str(folder / ROLLOUTS.format(number))))
        if self.args.sync_ref_model:
            self.accelerator.unwrap_model(self.ref_model).load_state_dict(load_file(folder / REFERENCE))
