"""The training pass of TRL's GRPOTrainer, computing less for the same loss and gradient.

Rows without an advantage are left out; the others go through the model in passes of a token budget, the longest first;
a prompt stands in a pass once for its completions; and only what predicts a completion token reaches the output head.
The methods of TRL 1.16 that it overrides are no public API: tests/test_trainer.py holds loss and gradient to TRL's own.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from trl import GRPOTrainer

from r1kit.chunks import cut_by_length, cut_by_prompt, merge_metrics, rows_of, share_of
from r1kit.packing import NAME, CompletionHead, can_pack, pack_rows
from r1kit.parts import PARTS
from r1kit.passes import Passes
from r1kit.processes import gather


class Alone:
    """An accelerator that gathers from its own process alone."""

    def __init__(self, accelerator: Any):
        self._accelerator = accelerator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._accelerator, name)

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        """Return the value of this process."""
        return value

    def reduce(self, value: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        """Return the value of this process."""
        return value


class ExactPass(Passes, GRPOTrainer):
    """GRPO whose training pass is cut and packed.

    Beside TRL's arguments:
        token_budget: tokens of one pass.
        parts: the speed-ups that are on, of `PARTS`.
    """

    def __init__(self, *args: Any, token_budget: int = 4096, parts: Iterable[str] = tuple(PARTS), **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._begin_passes(token_budget)
        self.parts = set(parts)
        models = [self._causal(m) for m in (self.model, self.ref_model) if m is not None]
        self._packs = {"head", "share"} <= self.parts and all(map(can_pack, models))
        if "head" in self.parts:
            for model in models:
                CompletionHead(model.base_model)
        self._logps: torch.Tensor | None = None  # of the newest pass

    @property
    def _coupled(self) -> bool:
        """Tell whether the loss has a term that is no sum over rows: an entropy bonus or quantile, a router's loss."""
        return self._entropy_bonus_enabled or self.top_entropy_quantile < 1.0 or self.aux_loss_enabled

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take one (micro-)step as TRL does.

        Raises:
            UserError: the GPU's memory does not suffice.
        """
        with self._within_memory():
            return super().training_step(model, inputs, num_items_in_batch)

    def _compute_loss(self, model, inputs):
        """Return TRL's loss of a micro-batch, most of whose passes have gone backward already (see `_add_up`)."""
        if not torch.is_grad_enabled() or self._coupled or not self.parts & {"drop", "budget"}:
            return super()._compute_loss(model, inputs)
        rows_to_train = self._rows_to_train(inputs)
        kept, found = self._metrics["train"], []

        def loss_of(rows: list[int], weight: float) -> torch.Tensor:
            part = rows_of(inputs, rows)
            self._metrics["train"] = defaultdict(list)
            loss = self._plain_loss(model, part) * (weight * share_of(self.loss_type, part, inputs))
            self._compare_logps(part)
            tokens = int(weight * part["completion_mask"].sum()) if rows_to_train else 0
            found.append((tokens, self._metrics["train"]))
            return loss

        loss = self._add_up(model, self._cut(inputs, rows_to_train or [0]), loss_of)  # each process takes part
        for key, value in merge_metrics([one for process in gather(found) for one in process]).items():
            kept[key].append(value)
        self._metrics["train"] = kept
        return loss

    def _plain_loss(self, model, part) -> torch.Tensor:
        with self._alone():
            return super()._compute_loss(model, part)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have TRL take its metrics from this process alone: the rows of a pass are not as many in each."""
        everyone = self.accelerator
        self.accelerator = Alone(everyone)
        try:
            yield
        finally:
            self.accelerator = everyone

    def _rows_to_train(self, inputs) -> list[int]:
        """Return the rows that the loss depends on."""
        rows = range(len(inputs["completion_ids"]))
        used = list(rows)
        if "drop" in self.parts and self.beta == 0:
            advantages = inputs["advantages"].reshape(len(rows), -1)
            used = [row for row, has in zip(rows, (advantages != 0).any(1).tolist(), strict=True) if has]
        self._seen["rows"] += len(rows)
        self._seen["rows/trained"] += len(used)
        return used

    def _cut(self, inputs, rows: list[int]) -> list[tuple[list[int], float]]:
        """Return the passes over rows, each with its weight: 0 where it only keeps step with other processes."""
        if "budget" not in self.parts or self.is_deepspeed_enabled:
            return [(rows, 1.0)]
        prompt_tokens, tokens = inputs["prompt_mask"].sum(1), inputs["completion_mask"].sum(1)
        cut = self._cut_rows(inputs["prompt_ids"], prompt_tokens, tokens, rows)
        return self._even([[rows[i] for i in chunk] for chunk in cut])

    def _cut_rows(self, prompt_ids, prompt_tokens, tokens, rows: list[int]) -> list[list[int]]:
        own, before = tokens[rows].tolist(), prompt_tokens[rows].tolist()
        if not self._packs:
            return cut_by_length([a + b for a, b in zip(before, own, strict=True)], self.token_budget)
        prompts = [tuple(row) for row in prompt_ids[rows].tolist()]
        return cut_by_prompt(prompts, before, own, self.token_budget)

    def _compare_logps(self, part) -> None:
        """Sum up how far log-probabilities are from those at which tokens were drawn, by the weights that drew them."""
        first = (
            self._step % (self.args.steps_per_generation * self.num_iterations) < self.args.gradient_accumulation_steps
        )
        mine = part.get("old_per_token_logps") if self.use_vllm else self._logps if first else None
        sampled = part.get("sampling_per_token_logps")
        if sampled is not None and mine is not None:
            mask = part["completion_mask"].bool() & ~sampled.isnan()
            self._seen["logps/difference"] += float((mine - sampled).abs()[mask].sum())
            self._seen["logps"] += int(mask.sum())

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs
    ):
        """Return log-probabilities and entropies (B, C) of the completions, and the router's loss, as TRL does."""
        asked = {name: value for name, value in kwargs.items() if value is not None}
        if not self.parts & {"budget", "head"} or not asked.keys() <= {"compute_entropy", "compute_aux_loss"}:
            found = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **kwargs
            )
        else:
            found = self._score(model, input_ids, attention_mask, logits_to_keep, batch_size, **asked)
        self._logps = found[0].detach()
        return found

    def _score(self, model, ids, mask, width, batch_size, compute_entropy=False, compute_aux_loss=False):
        prompt_tokens, tokens = mask[:, :-width].sum(1), mask[:, -width:].sum(1)
        rows, lengths = list(range(len(ids))), tokens.tolist()
        packs = self._packs and not compute_aux_loss
        if packs or "budget" in self.parts:
            chunks = self._cut_rows(ids[:, :-width], prompt_tokens, tokens, rows)
        else:
            step = batch_size or len(rows)
            chunks = [rows[i : i + step] for i in range(0, len(rows), step)]
        places, logps, entropies, aux_losses = [], [], [], []
        for chunk, weight in self._even(chunks):
            chunk = sorted(chunk, key=lambda row: -lengths[row])
            run = self._run_packed if packs else self._run_padded
            place, output = run(model, ids, mask, width, chunk, compute_aux_loss)
            if weight == 0:
                continue
            places.append(place)
            logps.append(output.log_probs.flatten())
            entropies.append(output.entropy.flatten() if compute_entropy else None)
            aux_losses.append(output.aux_loss)

        def back(values: list[torch.Tensor]) -> torch.Tensor:
            full = values[0].new_zeros(len(ids) * width)
            return full.index_copy(0, torch.cat(places), torch.cat(values)).view(-1, width)

        return (
            back(logps),
            back(entropies) if compute_entropy else None,
            torch.stack(aux_losses).mean() if compute_aux_loss else None,
        )

    def _run_packed(self, model, ids, mask, width, rows, compute_aux_loss):
        """Return the places (K,) of the completion tokens of rows in the flattened (B * C), and the model's output."""
        before, own = mask[:, :-width].bool(), mask[:, -width:].bool()
        prompts = [ids[row, :-width][before[row]].tolist() for row in rows]
        completions = [ids[row, -width:][own[row]].tolist() for row in rows]
        packed = pack_rows(prompts, completions, ids.device)
        with self._attending(model, NAME), self.accelerator.autocast():
            output = model(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                packed=packed,
                predicting=packed.predicting,
                shift_labels=packed.labels,
                fused_lm_head=True,
            )
        return self._places(own, rows, width), output

    def _run_padded(self, model, ids, mask, width, rows, compute_aux_loss):
        """Return the same from rows that are padded to the longest of them."""
        before, own = mask[rows, :-width], mask[rows, -width:]
        left, keep = int(before.sum(1).max()), max(1, int(own.sum(1).max()))
        window = slice(ids.shape[1] - width - left, ids.shape[1] - width + keep)
        inputs = {"input_ids": ids[rows, window], "attention_mask": mask[rows, window]}
        if compute_aux_loss:
            inputs["output_router_logits"] = True
        row, column = own.bool()[:, :keep].nonzero(as_tuple=True)
        predicting = row * (left + keep) + left + column - 1
        if "head" in self.parts:
            labels = inputs["input_ids"][row, left + column].unsqueeze(0)
            inputs["predicting"] = predicting
        else:
            labels = inputs["input_ids"].roll(-1, 1)
        with self.accelerator.autocast():
            output = model(**inputs, shift_labels=labels, fused_lm_head=True)
        if "head" not in self.parts:
            output.log_probs = output.log_probs.flatten()[predicting]
            output.entropy = None if output.entropy is None else output.entropy.flatten()[predicting]
        return self._places(mask[:, -width:].bool(), rows, width), output

    @staticmethod
    def _places(own: torch.Tensor, rows: list[int], width: int) -> torch.Tensor:
        row, column = own[rows].nonzero(as_tuple=True)
        return torch.tensor(rows, device=own.device)[row] * width + column
