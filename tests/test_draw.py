import numpy as np
import pytest
import torch

from r1kit.engines import Sampling
from r1kit.engines.draw import RandomNumbers, draw_tokens

# the 99.9 % points of chi-square, by degrees of freedom
LIMITS = {1: 10.8, 2: 13.8, 3: 16.3, 5: 20.5, 199: 267.5}
LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -2.0])


def drawn(logits, sampling, draws=50_000):
    """Return how often each token is drawn."""
    uniform = torch.from_numpy(np.random.default_rng(0).random(draws))
    chosen, _ = draw_tokens(logits.expand(draws, -1), uniform, sampling)
    return torch.bincount(chosen, minlength=logits.shape[-1]).double()


def check(counts, expected):
    """Hold counts to probabilities by chi-square."""
    expected = expected.double() / expected.double().sum()
    allowed = expected > 0
    assert counts[~allowed].sum() == 0
    wanted = expected[allowed] * counts.sum()
    assert float((((counts[allowed] - wanted) ** 2) / wanted).sum()) < LIMITS[int(allowed.sum()) - 1]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_as_the_softmax_says(temperature):
    check(drawn(LOGITS, Sampling(temperature)), (LOGITS / temperature).softmax(-1))


def test_top_p_keeps_the_fewest_tokens_that_hold_it():
    """0.564, 0.207, 0.126: the first three pass 0.8."""
    kept = LOGITS.softmax(-1)
    kept[3:] = 0
    check(drawn(LOGITS, Sampling(top_p=0.8)), kept)
    check(drawn(LOGITS.flip(0), Sampling(top_p=0.8)), kept.flip(0))


def test_top_k_keeps_the_likeliest():
    kept = LOGITS.softmax(-1)
    kept[4:] = 0
    check(drawn(LOGITS, Sampling(top_k=4)), kept)


def test_top_p_is_a_share_of_what_top_k_leaves():
    """Of the first four, 0.564 + 0.207 of 0.973 is 0.79: two tokens hold 0.78, three are needed for 0.8."""
    kept = LOGITS.softmax(-1)
    kept[2:] = 0
    check(drawn(LOGITS, Sampling(top_p=0.78, top_k=4)), kept)


def test_a_vocabulary_of_many_blocks_and_a_flat_top_p():
    """200 tokens are likely alike, in a vocabulary that is no multiple of the block."""
    logits = torch.full((1003,), -30.0)
    logits[5::5][:200] = torch.linspace(0, 1, 200)
    check(drawn(logits, Sampling(), 40_000), logits.softmax(-1).where(logits > -30, 0))
    flat = torch.zeros(1, 1003)
    counts = drawn(flat, Sampling(top_p=0.5), 40_000)
    assert int((counts > 0).sum()) == 502  # more than are looked at first


def test_rows_do_not_depend_on_one_another():
    torch.manual_seed(0)
    logits, uniform = torch.randn(9, 500) * torch.linspace(0.1, 9, 9)[:, None], torch.rand(9, dtype=torch.float64)
    for sampling in (Sampling(), Sampling(0.7, 0.9), Sampling(top_k=7), Sampling(0)):
        together = draw_tokens(logits, uniform, sampling)
        for row in range(9):
            alone = draw_tokens(logits[row : row + 1], uniform[row : row + 1], sampling)
            assert [x.item() for x in alone] == [x[row].item() for x in together]


def test_the_largest_random_number_draws_a_token_that_is_likely():
    uniform = torch.tensor([1 - 1e-16], dtype=torch.float64)
    assert draw_tokens(torch.zeros(1, 7), uniform, Sampling())[0].tolist() == [6]
    ends = torch.tensor([[0.0, 0.0, float("-inf"), float("-inf")]])
    assert draw_tokens(ends, uniform, Sampling())[0].tolist() == [1]


def test_log_probabilities_are_those_before_top_p():
    chosen, logprobs = draw_tokens(LOGITS[None], torch.tensor([0.3], dtype=torch.float64), Sampling(0.5, 0.5))
    assert logprobs[0].item() == pytest.approx((LOGITS / 0.5).log_softmax(-1)[chosen[0]].item(), abs=1e-6)


def test_random_numbers_belong_to_seed_and_key():
    def numbers(seed, key):
        stream = RandomNumbers(seed, key)
        return [stream.next() for _ in range(200)]

    assert numbers(0, "a") == numbers(0, "a")
    assert not set(numbers(0, "a")) & set(numbers(1, "a"))
    assert not set(numbers(0, "a")) & set(numbers(0, "b"))
    assert 0.4 < np.mean(numbers(0, "a")) < 0.6
