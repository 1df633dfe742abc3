import random
from collections import Counter

import pytest
import torch
from model_families import other_models

from r1kit.engines import Request, Sampling
from r1kit.engines.transformers import TransformersEngine

TEXTS = ("1 + 2 = ", "What is the capital of France?", "x")
KEYS = (("a/0", "a/1", "a/2"), ("b/0",), ("c/0", "c/1"))


def prompts(tokenizer, *texts):
    return [tokenizer(text)["input_ids"] for text in texts]


def requests(tokenizer, **fields):
    """Return the requests of TEXTS with KEYS."""
    ids = prompts(tokenizer, *TEXTS)
    return [Request(key, prompt, **fields) for prompt, keys in zip(ids, KEYS, strict=True) for key in keys]


def complete(model, tokenizer, asked, sampling, batch_size=64):
    """Return the completions of requests by key."""
    engine = TransformersEngine(model, tokenizer, batch_size)
    return {request.key: completion for request, completion in engine.complete(asked, sampling)}


def forward_logprobs(model, prompt, completion, temperature=1.0):
    """Return the log-probabilities of a completion's tokens by one plain forward pass."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + completion.token_ids])).logits[0]
    logprobs = (logits / temperature).log_softmax(-1)
    return [logprobs[len(prompt) + i - 1, token].item() for i, token in enumerate(completion.token_ids)]


def test_log_probabilities_equal_a_plain_forward_pass(tiny_model):
    model, tokenizer = tiny_model
    asked = requests(tokenizer)
    completions = complete(model, tokenizer, asked, Sampling(0.7, 0.9, 24))
    for request in asked:
        completion = completions[request.key]
        expected = forward_logprobs(model, request.prompt, completion, 0.7)
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", other_models())
def test_other_kinds_of_attention_give_the_same_log_probabilities(tiny_model, kind):
    torch.manual_seed(0)
    model, tokenizer = other_models()[kind]().eval(), tiny_model[1]
    asked = requests(tokenizer)
    completions = complete(model, tokenizer, asked, Sampling(max_tokens=24))
    for request in asked:
        expected = forward_logprobs(model, request.prompt, completions[request.key])
        assert completions[request.key].logprobs == pytest.approx(expected, abs=1e-4)


def test_a_model_with_a_recurrent_state_is_refused(tiny_model):
    from transformers import MambaConfig, MambaForCausalLM

    from r1kit.errors import UserError

    model = MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=1024))
    with pytest.raises(UserError, match="mamba is no kind of model that the transformers engine can run"):
        TransformersEngine(model, tiny_model[1])


def many(tokenizer):
    """Return requests whose prompts and lengths are all over the place."""
    drawn = random.Random(0)
    ids = tokenizer("What is 1 + 2 + 3? " * 12)["input_ids"]
    made = []
    for number in range(11):
        prompt = [*ids[: drawn.choice((1, 2, 5, 16, 17, 18, 40, 70, 90))], number]
        made += [Request(f"{number}/{sample}", prompt, drawn.randint(1, 90)) for sample in range(3)]
    return made


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, 0.9, top_k=40)])
def test_neither_batch_size_nor_order_changes_a_bit(tiny_model, sampling):
    """Not a token, and not a bit of a log-probability."""
    asked = many(tiny_model[1])
    reference = complete(*tiny_model, asked, sampling, 64)
    assert len({completion.completion_tokens for completion in reference.values()}) > 10
    for batch_size in (1, 2, 5, 16, 31):
        assert complete(*tiny_model, asked, sampling, batch_size) == reference
    assert complete(*tiny_model, asked[::-1], sampling, 7) == reference
    assert complete(*tiny_model, asked[4:5], sampling)[asked[4].key] == reference[asked[4].key]


def test_the_embedded_base_neither():
    from r1kit.model import load_model

    model, tokenizer = load_model("base")
    asked = many(tokenizer)
    reference = complete(model, tokenizer, asked, Sampling(), 64)
    assert complete(model, tokenizer, asked[::-1], Sampling(), 3) == reference


def test_another_seed_or_key_is_another_completion(tiny_model):
    asked = requests(tiny_model[1])
    one = complete(*tiny_model, asked, Sampling(max_tokens=24))
    other = complete(*tiny_model, asked, Sampling(max_tokens=24, seed=1))
    assert all(one[key].token_ids != other[key].token_ids for key in one)
    assert one["a/0"].token_ids != one["a/1"].token_ids


@pytest.mark.parametrize(
    "sampling", [Sampling(0.8), Sampling(1.0, 0.7), Sampling(1.0, top_k=12), Sampling(1.3, 0.9, top_k=30)]
)
def test_completions_are_distributed_as_the_softmax_says(tiny_model, sampling):
    """Chi-square on the first two tokens of 6,000 completions, against a plain forward pass."""
    model, tokenizer = tiny_model
    [prompt] = prompts(tokenizer, "x")
    asked = [Request(str(i), prompt, 2) for i in range(6000)]
    drawn = [c.token_ids for c in complete(model, tokenizer, asked, sampling, 500).values()]
    first = Counter(ids[0] for ids in drawn)
    hold_to(first, expected_shares(model, prompt, sampling))
    [(common, _)] = first.most_common(1)
    hold_to(Counter(ids[1] for ids in drawn if ids[0] == common), expected_shares(model, [*prompt, common], sampling))


def expected_shares(model, prompt, sampling):
    """Return the probability of each token that may follow."""
    with torch.no_grad():
        shares = (model(input_ids=torch.tensor([prompt])).logits[0, -1] / sampling.temperature).softmax(-1).tolist()
    order = sorted(range(len(shares)), key=lambda token: -shares[token])[: sampling.top_k or None]
    whole, held, kept = sum(shares[token] for token in order), 0.0, {}
    for token in order:
        if held < sampling.top_p * whole:
            kept[token] = shares[token]
            held += shares[token]
    return {token: share / held for token, share in kept.items()}


def hold_to(counts, shares):
    """Hold counts to shares by chi-square at its 99.9 % point (Wilson-Hilferty); rare tokens are counted as one."""
    assert counts.keys() <= shares.keys()
    total = counts.total()
    common = [token for token, share in shares.items() if share * total >= 5]
    cells = [(counts[token], shares[token] * total) for token in common]
    cells.append((total - sum(c for c, _ in cells), total - sum(e for _, e in cells)))
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in cells if wanted > 1)
    free = max(1, sum(wanted > 1 for _, wanted in cells) - 1)
    assert statistic < free * (1 - 2 / (9 * free) + 3.09 * (2 / (9 * free)) ** 0.5) ** 3


def test_greedy_is_what_generate_says(tiny_model):
    model, tokenizer = tiny_model
    asked = requests(tokenizer)
    for key, completion in complete(model, tokenizer, asked, Sampling(0.0, max_tokens=80)).items():
        row = torch.tensor([next(request.prompt for request in asked if request.key == key)])
        expected = model.generate(row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=80)
        assert completion.token_ids == expected[0, row.shape[1] :].tolist()


def test_the_models_own_attention_is_back_afterwards(tiny_model):
    model, tokenizer = tiny_model
    before = model.config._attn_implementation
    stream = TransformersEngine(model, tokenizer).complete(requests(tokenizer), Sampling(max_tokens=4))
    next(stream)
    assert model.config._attn_implementation == before
    stream.close()


def test_the_fused_attention_of_gpus_gives_the_same(tiny_model, monkeypatch):
    """Its code runs on a CPU too; there it is not the one that is used."""
    from r1kit.engines import rows

    asked = requests(tiny_model[1])
    ours = complete(*tiny_model, asked, Sampling(max_tokens=24))
    used = []

    def fused(query, key, value, mask, scaling, softcap):
        used.append(query.shape[2])
        return rows._attend_fused(query, key, value, mask, scaling)

    monkeypatch.setattr(rows, "_attend_by_products", fused)
    theirs = complete(*tiny_model, asked, Sampling(max_tokens=24))
    assert 1 in used
    assert max(used) > 1
    for key, completion in ours.items():
        assert theirs[key].token_ids == completion.token_ids
        assert theirs[key].logprobs == pytest.approx(completion.logprobs, abs=1e-5)


def test_a_completion_ends_at_the_end_token_or_at_the_limit():
    """On the embedded base, which does end; the tiny model would not."""
    from r1kit.model import load_model

    model, tokenizer = load_model("base")
    [prompt] = prompts(tokenizer, "User: What is 1 + 2 + 3?\nAssistant:")
    group = complete(model, tokenizer, [Request(str(i), prompt) for i in range(64)], Sampling(max_tokens=12)).values()
    assert {completion.finish_reason for completion in group} == {"stop", "length"}
    for completion in group:
        assert (completion.token_ids[-1] == tokenizer.eos_token_id) == (completion.finish_reason == "stop")
        assert tokenizer.eos_token_id not in completion.token_ids[:-1]
        assert completion.finish_reason == "stop" or len(completion.token_ids) == 12
        assert completion.completion_tokens == len(completion.token_ids) == len(completion.logprobs)
        assert completion.text == tokenizer.decode(completion.token_ids, skip_special_tokens=True)


def test_a_stop_text_ends_a_completion_with_the_token_that_completes_it():
    from r1kit.model import load_model

    model, tokenizer = load_model("base")
    [prompt] = prompts(tokenizer, "User: What is 1 + 2 + 3?\nAssistant:")
    asked = [Request(str(i), prompt) for i in range(32)]
    whole = complete(model, tokenizer, asked, Sampling(max_tokens=40))
    cut = complete(model, tokenizer, asked, Sampling(max_tokens=40, stop=("+", "is")))
    stopped = 0
    for key, completion in cut.items():
        assert whole[key].token_ids[: len(completion.token_ids)] == completion.token_ids
        held = [stop for stop in ("+", "is") if stop in completion.text]
        stopped += bool(held)
        assert not held or completion.finish_reason == "stop"
        before = tokenizer.decode(completion.token_ids[:-1], skip_special_tokens=True)
        assert "+" not in before
        assert "is" not in before
    assert 0 < stopped < 32


def test_completions_leave_before_the_last_request_is_read(tiny_model):
    """A slow input stalls nothing that runs."""
    import threading

    asked, come = requests(tiny_model[1], max_tokens=5), threading.Event()

    def slowly():
        yield from asked[:2]
        come.wait()
        yield from asked[2:]

    stream = TransformersEngine(*tiny_model).complete(slowly(), Sampling())
    assert {next(stream)[0].key, next(stream)[0].key} == {"a/0", "a/1"}
    come.set()
    assert {request.key for request, _ in stream} == {"a/2", "b/0", "c/0", "c/1"}


def test_what_reading_raises_comes_after_the_completions_before_it(tiny_model):
    asked = requests(tiny_model[1], max_tokens=30)

    def broken():
        yield from asked[:3]
        raise ValueError("line 4")

    stream = TransformersEngine(*tiny_model).complete(broken(), Sampling())
    assert {next(stream)[0].key for _ in range(3)} == {"a/0", "a/1", "a/2"}
    with pytest.raises(ValueError, match="line 4"):
        next(stream)
