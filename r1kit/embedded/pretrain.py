"""Make the embedded base model from nothing: corpus, tokenizer, pretraining, saving.

    python -m r1kit.embedded.pretrain STABLE --steps 1800 --decay 0
    python -m r1kit.embedded.pretrain OUT --start STABLE --steps 700 --decay 1 --seed 1

A Llama of 1.2M parameters (4 layers, width 128, 4 heads of 64) reads a stream of seeded documents once: first at a
constant learning rate, then, with fresh documents, at one that falls to zero. Matrices are trained with Muon (Jordan et
al., 2024), embeddings and norms with AdamW. One JSON line per 20 steps goes to OUT/pretrain.jsonl.

The embedded student, to distil the base's children into, is a smaller one with the base's tokenizer:

    python -m r1kit.embedded.pretrain OUT --layers 2 --width 64 --tokenizer base --steps 1200 --seed 2
"""

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r1kit.embedded.corpus import documents
from r1kit.embedded.problems import held_out_prompts
from r1kit.model import load_model, load_tokenizer, save_model
from r1kit.prompts import R1_ZERO_PREAMBLE

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

LAYERS, WIDTH = 4, 128  # of the base
VOCABULARY = 1024
WINDOW = 1024  # tokens that the position encoding is declared for; documents are shorter
END, PAD = "<|endoftext|>", "<|pad|>"
# one token each, so that a prompt in R1-Zero's template costs 30 tokens, not 130
WHOLE = (R1_ZERO_PREAMBLE, "<think>", "</think>", "<answer>", "</answer>", "\\boxed{")
# numbers split into digits; an operator takes the blanks around it; Chinese runs and Latin words apart
PIECES = r"\d|\n+| ?[+\-*/=] ?|\p{Han}+| ?[a-zA-Z]+| ?[^\s\p{Han}a-zA-Z\d]+| +"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content + '\\n' }}"
    "{% elif message.role == 'user' %}{{ 'User: ' + message.content + '\\n' }}"
    "{% else %}{{ 'Assistant:' }}{% generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}"
    "{{ '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
DOCUMENTS_PER_STEP, MICRO_BATCH_TOKENS = 256, 3072
LEARNING_RATE, WARMUP = 1e-2, 50
LOG = "pretrain.jsonl"


def train_tokenizer(texts: Iterator[str]) -> "PreTrainedTokenizerFast":
    """Return a byte-level BPE tokenizer of `VOCABULARY` tokens: digits one by one, any text round-trips."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(WHOLE),
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((t.replace(R1_ZERO_PREAMBLE, "") for t in texts), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in WHOLE])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def new_model(
    seed: int, tokenizer: "PreTrainedTokenizerBase", layers: int = LAYERS, width: int = WIDTH
) -> "LlamaForCausalLM":
    """Return an untrained model; the same seed gives the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        head_dim=64,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batches(stream: Iterator[str], tokenizer: "PreTrainedTokenizerBase") -> Iterator[list["torch.Tensor"]]:
    """Yield the micro-batches of one step: token ids (B, T), right-padded, documents of like length together."""
    import torch

    while True:
        texts = list(islice(stream, DOCUMENTS_PER_STEP))
        rows = sorted(([*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]), key=len)
        groups: list[list[list[int]]] = [[]]
        for row in rows:  # sorted: the newest row sets the width
            if (len(groups[-1]) + 1) * len(row) > MICRO_BATCH_TOKENS:
                groups.append([])
            groups[-1].append(row)
        yield [
            torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in group], True, tokenizer.pad_token_id)
            for group in groups
        ]


def train(
    model: "LlamaForCausalLM", data: Iterator[list["torch.Tensor"]], steps: int, decay: float
) -> Iterator[dict[str, float]]:
    """Train `model` in place for `steps` steps; yield a log line a step (loss in nats per token).

    The learning rate rises over `WARMUP` steps and falls to zero over the last `decay` (a share) of them.
    """
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = (
        torch.optim.Muon(matrices, LEARNING_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    )
    pad = model.config.pad_token_id
    tokens, started = 0, time.perf_counter()
    for step in range(1, steps + 1):
        micro_batches = next(data)
        count = sum(int((ids[:, 1:] != pad).sum()) for ids in micro_batches)
        loss_sum = 0.0
        for ids in micro_batches:
            logits = model(input_ids=ids).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad, reduction="sum"
            )
            (loss / count).backward()
            loss_sum += loss.item()
        fall = (steps - step + 1) / (decay * steps) if decay else 1.0
        rate = LEARNING_RATE * min(1.0, step / WARMUP, fall)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        model.zero_grad()
        tokens += count
        yield {
            "step": step,
            "loss": round(loss_sum / count, 4),
            "learning_rate": round(rate, 6),
            "tokens": tokens,
            "seconds": round(time.perf_counter() - started, 1),
        }


def main(
    out: Annotated[Path, typer.Argument(help="Folder to write the model into.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps of 256 documents.")] = 1800,
    decay: Annotated[float, typer.Option(help="Share of the steps over which the learning rate falls to zero.")] = 0.4,
    start: Annotated[
        Path | None, typer.Option(help="Model to go on from, with a new optimiser; default: none.")
    ] = None,
    layers: Annotated[int, typer.Option(help="Layers of a new model.")] = LAYERS,
    width: Annotated[int, typer.Option(help="Width of a new model, a multiple of 32: a head each.")] = WIDTH,
    tokenizer_of: Annotated[
        str | None, typer.Option("--tokenizer", help="Model whose tokenizer a new model takes; default: a new one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the corpus.")] = 0,
    save_every: Annotated[int, typer.Option(help="Save the folder every so many steps.")] = 200,
) -> None:
    """Make the embedded base model and save it into OUT."""
    out.mkdir(parents=True, exist_ok=True)
    held_out = held_out_prompts()
    before: list[dict[str, float]] = []
    if start is None:
        texts = islice(documents(seed + 1000, held_out), 20_000)
        tokenizer = load_tokenizer(tokenizer_of) if tokenizer_of else train_tokenizer(texts)
        model = new_model(seed, tokenizer, layers, width)
    else:
        model, tokenizer = load_model(str(start))
        before = list(map(json.loads, (start / LOG).open(encoding="utf-8")))
    done = {key: before[-1][key] if before else 0 for key in ("step", "tokens", "seconds")}
    size = f" --layers {layers} --width {width}" if (layers, width) != (LAYERS, WIDTH) else ""
    size += f" --tokenizer {tokenizer_of}" if tokenizer_of else ""
    command = f"python -m r1kit.embedded.pretrain OUT{size} --steps {steps} --decay {decay} --seed {seed}"
    card = {"command": command, "parent": str(start) if start else None, "prompt_style": "r1-zero", "seed": seed}
    with (out / LOG).open("w", encoding="utf-8") as log:
        log.writelines(json.dumps(line) + "\n" for line in before)
        for line in train(model, batches(documents(seed, held_out), tokenizer), steps, decay):
            last = line["step"] == steps
            line |= {key: round(line[key] + value, 1) for key, value in done.items()}
            if last or line["step"] % 20 == 0:
                log.write(json.dumps(line) + "\n")
                log.flush()
            if last or line["step"] % save_every == 0:
                save_model(model, tokenizer, out, {**card, "metrics": line})


if __name__ == "__main__":
    typer.run(main)
