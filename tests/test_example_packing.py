"""Packed rows: each is computed as if it were alone."""

import pytest
import torch
from model_families import other_models

from r1kit.attention import attention_by
from r1kit.example_packing import NAME, pack_examples, takes_ragged_rows
from r1kit.packing import can_pack
from r1kit.sft_rows import UNTRAINED

LENGTHS = (40, 33, 12, 11, 5, 1)


def random_rows(lengths=LENGTHS):
    torch.manual_seed(1)
    return [torch.randint(2, 1000, (length,)) for length in lengths]


def run_packed(model, rows, **inputs):
    """Return the hidden states (T, H) of rows that are packed; `inputs` take the place of the packed ones."""
    packed = pack_examples(rows, rows)
    given = {"input_ids": packed.input_ids, **inputs}
    with attention_by(NAME, model):
        output = model.base_model(position_ids=packed.position_ids, packed=packed, use_cache=False, **given)
    return output.last_hidden_state[0]


def test_tokens_know_their_row_and_what_predicts_them():
    rows = [torch.tensor([5, 6, 7]), torch.tensor([8, 9])]
    packed = pack_examples(rows, [torch.tensor([UNTRAINED, UNTRAINED, 7]), torch.tensor([UNTRAINED, 9])])
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 9]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert packed.labels.tolist() == [[7, 9]]
    assert packed.predicting.tolist() == [1, 3]  # 6 predicts 7, 8 predicts 9
    assert packed.starts.tolist() == [0, 3, 5]


@pytest.mark.parametrize("kind", ["the base's", *other_models()])
def test_hidden_states_and_gradients_are_those_of_rows_alone(kind, tiny_model):
    torch.manual_seed(0)
    model = tiny_model[0] if kind == "the base's" else other_models()[kind]().eval()
    assert can_pack(model)
    rows = random_rows()
    together = run_packed(model, rows)
    alone = torch.cat([model.base_model(input_ids=row[None]).last_hidden_state[0] for row in rows])
    assert torch.allclose(together, alone, atol=2e-5)
    weights = torch.randn_like(alone)
    first = next(model.base_model.parameters())
    gradients = [torch.autograd.grad((states * weights).sum(), first)[0] for states in (together, alone)]
    assert torch.allclose(*gradients, atol=2e-4 * float(gradients[1].abs().max()))


def test_no_row_sees_another_by_the_gradient(tiny_model):
    """The derivative of what is computed for one row, by the embeddings of all: zero outside it, and after a token."""
    model, _ = tiny_model
    rows = random_rows()
    ends = torch.tensor(LENGTHS).cumsum(0).tolist()
    embedded = model.get_input_embeddings()(torch.cat(rows))[None].detach().requires_grad_()
    states = run_packed(model, rows, input_ids=None, inputs_embeds=embedded)
    for length, end in zip(LENGTHS, ends, strict=True):
        place = end - 1 - length // 3
        (gradient,) = torch.autograd.grad(states[place].sum(), embedded, retain_graph=True)
        seen = (gradient[0] != 0).any(1).nonzero().squeeze(1).tolist()
        assert seen == list(range(end - length, place + 1))


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 6])
def test_on_a_gpu_ragged_rows_are_attended_to_as_rows_alone(window):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 128, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = MistralConfig(**sizes, num_key_value_heads=2, head_dim=32, vocab_size=1024, sliding_window=window)
    torch.manual_seed(0)
    model = MistralForCausalLM(config).eval().cuda()
    rows = [row.cuda() for row in random_rows()]
    with torch.autocast("cuda", torch.bfloat16):
        assert takes_ragged_rows(torch.zeros(1, 4, 5, 32, device="cuda"))
        together = run_packed(model, rows).float()
    alone = torch.cat([model.base_model(input_ids=row[None]).last_hidden_state[0] for row in rows])
    assert float((together - alone).abs().max() / alone.abs().max()) < 0.03
    together.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.base_model.parameters())
