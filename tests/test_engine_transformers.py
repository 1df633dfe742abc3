import numpy as np
import pytest
import torch

from r1kit.engines import Sampling
from r1kit.engines.transformers import draw_tokens, sample_completions


def prompts(tokenizer, *texts):
    return [tokenizer(text)["input_ids"] for text in texts]


TEXTS = ("1 + 2 = ", "What is the capital of France?", "x")
KEYS = [["a/0", "a/1", "a/2"], ["b/0"], ["c/0", "c/1"]]


def test_log_probabilities_equal_a_plain_forward_pass(tiny_model):
    model, tokenizer = tiny_model
    ids = prompts(tokenizer, *TEXTS)
    groups = sample_completions(model, tokenizer, ids, KEYS, Sampling(0.7, 0.9, 24))
    for prompt, group in zip(ids, groups, strict=True):
        for completion in group:
            row = torch.tensor([prompt + completion.token_ids])
            with torch.no_grad():
                logprobs = (model(input_ids=row).logits[0] / 0.7).log_softmax(-1)
            expected = [logprobs[len(prompt) + i - 1, token].item() for i, token in enumerate(completion.token_ids)]
            assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def other_models():
    """Yield tiny models whose caches or positions differ from Llama's."""
    from transformers import (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        GPT2Config,
        GPT2LMHeadModel,
        MistralConfig,
        MistralForCausalLM,
    )

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    heads = {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": 1024}
    gemma = Gemma3TextConfig(
        **sizes, **heads, sliding_window=6, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
    )
    return (
        MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=6)),
        Gemma3ForCausalLM(gemma),
        GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=1024)),
    )


@pytest.mark.parametrize("number", range(3), ids=["sliding window", "two kinds of layers", "learned positions"])
def test_other_kinds_of_attention_give_the_same_log_probabilities(tiny_model, number):
    torch.manual_seed(0)
    model, tokenizer = other_models()[number].eval(), tiny_model[1]
    ids = prompts(tokenizer, *TEXTS)
    groups = sample_completions(model, tokenizer, ids, KEYS, Sampling(max_tokens=24))
    for prompt, group in zip(ids, groups, strict=True):
        for completion in group:
            with torch.no_grad():
                logprobs = model(input_ids=torch.tensor([prompt + completion.token_ids])).logits[0].log_softmax(-1)
            expected = [logprobs[len(prompt) + i - 1, token].item() for i, token in enumerate(completion.token_ids)]
            assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_completion_depends_on_its_seed_and_key_alone(tiny_model):
    model, tokenizer = tiny_model
    ids = prompts(tokenizer, *TEXTS)
    together = sample_completions(model, tokenizer, ids, KEYS, Sampling(max_tokens=24))
    alone = [
        sample_completions(model, tokenizer, [p], [k], Sampling(max_tokens=24))[0]
        for p, k in zip(ids, KEYS, strict=True)
    ]
    assert [[c.token_ids for c in g] for g in together] == [[c.token_ids for c in g] for g in alone]
    other = sample_completions(model, tokenizer, ids, KEYS, Sampling(max_tokens=24, seed=1))
    assert [[c.token_ids for c in g] for g in together] != [[c.token_ids for c in g] for g in other]


def test_greedy_is_what_generate_says(tiny_model):
    model, tokenizer = tiny_model
    ids = prompts(tokenizer, *TEXTS)
    groups = sample_completions(model, tokenizer, ids, [["x"]] * 3, Sampling(0.0, max_tokens=80))
    for prompt, [completion] in zip(ids, groups, strict=True):
        row = torch.tensor([prompt])
        expected = model.generate(row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=80)
        assert completion.token_ids == expected[0, len(prompt) :].tolist()


def test_a_completion_ends_at_the_end_token_or_at_the_limit():
    """On the embedded base, which does end; the tiny model would not."""
    from r1kit.model import load_model

    model, tokenizer = load_model("base")
    ids = prompts(tokenizer, "User: What is 1 + 2 + 3?\nAssistant:")
    [group] = sample_completions(model, tokenizer, ids, [[str(i) for i in range(64)]], Sampling(max_tokens=12))
    reasons = {completion.finish_reason for completion in group}
    assert reasons == {"stop", "length"}
    for completion in group:
        assert (completion.token_ids[-1] == tokenizer.eos_token_id) == (completion.finish_reason == "stop")
        assert tokenizer.eos_token_id not in completion.token_ids[:-1]
        assert completion.finish_reason == "stop" or len(completion.token_ids) == 12


def chi_square(counts, expected):
    return float((((counts - expected) ** 2) / expected).sum())


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.8)])
def test_tokens_are_drawn_as_the_softmax_says(temperature, top_p):
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -2.0])
    draws = 50_000
    uniform = torch.from_numpy(np.random.default_rng(0).random(draws))
    chosen, _ = draw_tokens(logits.expand(draws, -1), uniform, Sampling(temperature, top_p))
    expected = (logits / temperature).softmax(-1).double()
    if top_p < 1:  # by hand: 0.564, 0.207, 0.126: the first three pass 0.8
        expected[3:] = 0
        expected /= expected.sum()
    counts = torch.bincount(chosen, minlength=6).double()
    allowed = expected > 0
    assert counts[~allowed].sum() == 0
    limit = {5: 20.5, 2: 13.8}[int(allowed.sum()) - 1]  # the 99.9 % points of chi-square, by degrees of freedom
    assert chi_square(counts[allowed], expected[allowed] * draws) < limit


def test_the_largest_random_number_draws_a_token_of_the_vocabulary():
    chosen, _ = draw_tokens(torch.zeros(1, 7), torch.tensor([1 - 1e-16], dtype=torch.float64), Sampling())
    assert chosen.tolist() == [6]
