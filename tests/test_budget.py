import json

import pytest

from r1kit.budget import GB, GPUS, SHAPES, Draws, Gpu, Place, Shape, grpo_memory, grpo_seconds
from r1kit.model import EMBEDDED_MODELS

A100, H100 = GPUS["A100-80GB"], GPUS["H100-80GB"]
GIB = 2**30
HOUR = 3600
LLAMA_3B = Shape(28, 3072, 8192, 24, 8, 128, 128_256, True)  # Llama-3.2-3B
LLAMA_70B = Shape(80, 8192, 28_672, 64, 8, 128, 128_256, False)  # Llama-3.1-70B

# GiB without CUDA's own; github.com/pytorch/torchtune (bd2a0fc), README.md, "Memory and training speed" and
# "Optimization flags": packed rows of 2 x 4096 tokens on an A100, compiled; of 2 x 2048 on 8 A100
PEAKS = {
    "3B whole": (LLAMA_3B, Place(A100, budget=8192), 24.9),
    "3B whole, activations kept": (LLAMA_3B, Place(A100, budget=8192, checkpointing=False), 42.9),
    "3B LoRA": (LLAMA_3B, Place(A100, budget=8192, lora_rank=64), 8.5),
    "70B LoRA, sharded": (LLAMA_70B, Place(A100, 8, budget=4096, lora_rank=16, sharded=True), 27.6),
}
# tokens a second of one GPU; the same table
SPEEDS = {
    "3B whole": (LLAMA_3B, Place(A100), 7210),
    "3B whole, activations kept": (LLAMA_3B, Place(A100, checkpointing=False), 9174),
    "3B LoRA": (LLAMA_3B, Place(A100, lora_rank=64), 8210),
}


def simple_rl() -> float:
    """SimpleRL-Zoo (github.com/hkust-nlp/simpleRL-reason, README.md): 7B, 100 steps of 1,024 x 8 completions."""
    place = Place(H100, 16, sharded=True)
    return 100 * 16 * grpo_seconds(SHAPES["Qwen2.5-7B"], place, Draws(8192, 800, 8192, 150, 8), 0.75, scored=2)


def deepscaler() -> float:
    """DeepScaleR (github.com/agentica-project/deepscaler, README.md and scripts/train): 1.5B, 8K, 16K, 24K tokens.

    Of the lengths only the first is told: 5,500 tokens fall to 3,500.
    """
    seconds = 0.0
    for steps, gpus, n, mean, longest in (
        (1040, 8, 8, 3500, 8192),
        (480, 32, 16, 4000, 16_384),
        (230, 32, 16, 5000, 24_576),
    ):
        draws = Draws(128 * n, mean, longest, 150, n)
        step = grpo_seconds(SHAPES["Qwen2.5-1.5B"], Place(A100, gpus), draws, 0.85, scored=2)
        seconds += steps * gpus * step
    return seconds


def s1_on_all() -> float:
    """s1 (arXiv 2501.19393): 32B, 5 epochs over all 59,029 examples, 3.6K tokens of thought each and an answer."""
    return 16 * Place(H100, 16, sharded=True).training_seconds(SHAPES["Qwen2.5-32B"], 5 * 59_029 * 4300, 4300)


RUNS = {"SimpleRL-Zoo": (simple_rl, 15 * 16), "DeepScaleR": (deepscaler, 3800), "s1 on 59K": (s1_on_all, 394)}


def shape_of(folder):
    config = json.loads((folder / "config.json").read_text())
    sizes = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    return Shape(*(config[name] for name in sizes), config["head_dim"], config["vocab_size"], True)


def test_parameters_are_those_of_the_embedded_models():
    assert shape_of(EMBEDDED_MODELS["base"]).parameters == 1_246_336
    assert shape_of(EMBEDDED_MODELS["student"]).parameters == 205_120


def test_parameters_are_the_published_ones():
    billions = {"Qwen2.5-0.5B": 0.494, "Qwen3-0.6B": 0.596, "Qwen2.5-1.5B": 1.54, "Qwen2.5-3B": 3.09}
    billions |= {"Qwen2.5-7B": 7.61, "Llama-3.1-8B": 8.03, "Qwen2.5-32B": 32.8}
    assert {name: shape.parameters / 1e9 for name, shape in SHAPES.items()} == pytest.approx(billions, rel=0.005)


def test_states_are_what_adamw_holds():
    import torch

    from r1kit.model import load_model

    model, _ = load_model("base")
    optimizer = torch.optim.AdamW(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    moments = sum(v.nbytes for state in optimizer.state.values() for name, v in state.items() if name != "step")
    memory = Place(A100, number=4).memory(shape_of(EMBEDDED_MODELS["base"]))
    assert memory.weights == sum(p.nbytes for p in model.parameters())
    assert memory.gradients == sum(p.grad.nbytes for p in model.parameters())
    assert memory.moments == moments


def test_an_adapter_has_the_parameters_that_peft_gives_it():
    from peft import get_peft_model

    from r1kit.model import load_model
    from r1kit.training_run import adapter

    model = get_peft_model(load_model("base")[0], adapter(4))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert Place(A100, lora_rank=4).trained(shape_of(EMBEDDED_MODELS["base"])) == trained


@pytest.mark.parametrize("name", PEAKS)
def test_memory_is_within_thirty_percent_of_what_was_measured(name):
    shape, place, published = PEAKS[name]
    memory = place.memory(shape)
    assert (memory.total - memory.context) / GIB == pytest.approx(published, rel=0.3)


@pytest.mark.parametrize("name", SPEEDS)
def test_training_is_within_a_factor_of_two_of_what_was_measured(name):
    shape, place, published = SPEEDS[name]
    assert 0.5 < 8192 / place.training_seconds(shape, 8192, 4096) / published < 2


@pytest.mark.parametrize("name", RUNS)
def test_gpu_hours_are_within_a_factor_of_two_of_published_runs(name):
    reckoned, published = RUNS[name]
    assert 0.5 < reckoned() / HOUR / published < 2, reckoned() / HOUR


def test_decoding_is_as_fast_as_measured():
    # one completion of Llama-3.1-8B on an A100-40GB: 75 tokens/s; johnmusgrave.com/p/vllm-throughput-latency-sweep-on
    small = Gpu(40 * GB, 312e12, 1.555e12)
    assert 128 / Draws(1, 128, 128, 1024).seconds(SHAPES["Llama-3.1-8B"], small) == pytest.approx(75, rel=0.25)
    # many on an H100: 12,500 tokens/s; www.morphllm.com/vllm-benchmarks
    draws = Draws(5000, 250, 1000, 250)
    assert 0.5 < draws.tokens / draws.seconds(SHAPES["Llama-3.1-8B"], H100) / 12_500 < 2


def test_weights_that_leave_vllm_no_room_are_refused():
    with pytest.raises(ValueError, match="no room"):
        Draws(8, 100, 200).seconds(SHAPES["Qwen2.5-32B"], A100, memory=0.8 * A100.memory)
    assert Draws(8, 100, 200).seconds(SHAPES["Qwen2.5-32B"], A100, gpus=2, memory=0.8 * A100.memory, together=2) > 0


def test_each_saving_saves_memory():
    shape = SHAPES["Qwen2.5-7B"]
    whole = grpo_memory(shape, Place(A100, 8), 4096, 0.3)
    assert whole > A100.memory > grpo_memory(shape, Place(A100, 8, sharded=True), 4096, 0.3)
    assert grpo_memory(shape, Place(A100, lora_rank=16), 4096, 0.3) < whole
    assert grpo_memory(shape, Place(A100, 8, sharded=True), 4096, 0.3, reference=True) > grpo_memory(
        shape, Place(A100, 8, sharded=True), 4096, 0.3
    )
