import pytest
import torch
from model_families import other_models

from r1kit.attention import attention_by
from r1kit.packing import NAME, can_pack, pack_rows

PROMPTS = [[5, 6, 7], [5, 6, 7], [8, 9], [5, 6, 7]]
COMPLETIONS = [[11, 12, 13, 14], [15, 16], [17], []]


def test_tokens_stand_once_and_know_their_places():
    packed = pack_rows(PROMPTS, COMPLETIONS, torch.device("cpu"))
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 0, 1, 3, 4, 5, 6, 3, 4, 2]]
    assert packed.predicting.tolist() == [2, 5, 6, 7, 2, 9, 4]
    assert packed.labels.tolist() == [[11, 12, 13, 14, 15, 16, 17]]
    assert packed.counts == [5, 4, 2, 1]


def test_rows_spread_and_gather_their_tokens():
    packed = pack_rows(PROMPTS, COMPLETIONS, torch.device("cpu"))
    tokens = torch.arange(5.0).view(5, 1, 1)
    rows = packed.prompts.spread(tokens)
    assert rows[1, 0, :2, 0].tolist() == [3, 4]
    assert torch.equal(packed.prompts.gather(rows), tokens)


def test_a_completion_sees_its_prompt_and_itself_up_to_its_own_place():
    packed = pack_rows(PROMPTS[2:3], [[17, 18]], torch.device("cpu"))
    assert packed.mask(0, None, 1)[0, 0].tolist() == [[True, True, True, False], [True, True, True, True]]
    assert packed.mask(0, 2, 1)[0, 0].tolist() == [[False, True, True, False], [False, False, True, True]]


@pytest.mark.parametrize("kind", other_models())
def test_hidden_states_and_gradients_are_those_of_rows_alone(kind):
    torch.manual_seed(0)
    model = other_models()[kind]()
    model.eval()
    packed = pack_rows(PROMPTS, COMPLETIONS, torch.device("cpu"))
    with attention_by(NAME, model):
        output = model(input_ids=packed.input_ids, position_ids=packed.position_ids, packed=packed, use_cache=False)
        together = output.logits[0, packed.predicting]
        together.log_softmax(-1).gather(1, packed.labels.T).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    alone = []
    for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
        if completion:
            logits = model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits
            alone.append(logits[0, len(prompt) - 1 : -1])
    alone = torch.cat(alone)
    alone.log_softmax(-1).gather(1, packed.labels.T).sum().backward()
    assert torch.allclose(together, alone, atol=1e-5)
    for mine, plain in zip(gradients, model.parameters(), strict=True):
        assert torch.allclose(mine, plain.grad, atol=1e-4)


def test_models_with_a_state_are_not_packed():
    from transformers import MambaConfig, MambaForCausalLM

    assert not can_pack(MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=64)))
