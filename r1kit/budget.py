"""What a stage needs: memory of a GPU, hours and disk, reckoned before it runs.

Memory: weights, gradients and Adam's moments, shared out or not (Rajbhandari et al. 2020, arXiv 1910.02054); the
activations that checkpointing keeps, and those of one layer (Korthikanti et al. 2022, arXiv 2205.05198); the tile of
logits in which TRL's output head works; vLLM's share. Training: 6 floating-point operations for each parameter and
token (Kaplan et al. 2020, arXiv 2001.08361), 8 where activations are computed twice, and attention, at a share of the
GPU's peak (Chowdhery et al. 2022, arXiv 2204.02311, appendix B). Decoding: a step reads the weights once, and the keys
and values of each completion (Pope et al. 2022, arXiv 2211.05102).

tests/test_budget.py holds it to published runs: hours within a factor of 2, memory within 30 %. It knows dense models
and passes that fill the GPU. It leaves out loading, compiling and evaluation; graders that are slower than the sampler;
slow networks; an optimizer in the host's memory (19 hours on 8 H100 were Sky-T1's, 5 are reckoned here); and experts
that are mixed, such as DeepSeek-V3's.
"""

from dataclasses import dataclass
from typing import NamedTuple

from r1kit.trl_settings import LARGE

GB = 1e9
UTILISATION = 0.4  # of the peak, in training and in reading prompts; of 0.2 to 0.6 in published runs
WAITING = (
    2.0  # times the sum of its parts that a step of GRPO takes: GPUs wait for the longest completion, and each other
)
BANDWIDTH = 0.8  # of the peak, in decoding
STEP, SEAT = 0.001, 2e-5  # seconds of a decoding step beside the GPU's work, and of each completion in it: scheduling
LOADING = 5e9  # bytes a second at which vLLM takes new weights, and is woken
CONTEXT = 2.5 * GB  # of CUDA, NCCL and what the allocator cannot use
TILE = 32_768 * 4  # bytes of a token's logits that TRL's output head holds at a time, of 4096 tokens
SEATS = 512  # completions that vLLM draws side by side, at most
TEXT = 6  # bytes of a token in JSON Lines


class Shape(NamedTuple):
    """A dense decoder: grouped-query attention, and three matrices in each block's feed-forward part."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool  # one matrix for the embeddings and the output head

    @property
    def of_layer(self) -> int:
        """Parameters of one layer."""
        attention = 2 * self.hidden * self.head_size * (self.heads + self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, without biases."""
        return self.layers * self.of_layer + (1 if self.tied else 2) * self.vocabulary * self.hidden + self.hidden

    @property
    def multiplied(self) -> int:
        """Parameters that a token is multiplied by: all but the embeddings, which are looked up."""
        return self.layers * self.of_layer + self.vocabulary * self.hidden

    @property
    def cache(self) -> int:
        """Bytes of a token's keys and values in half precision."""
        return 4 * self.layers * self.kv_heads * self.head_size

    def flops(self, context: float) -> float:
        """Floating-point operations of a forward pass for one token that looks back at so many others."""
        return 2 * self.multiplied + 4 * self.layers * self.heads * self.head_size * context


class Gpu(NamedTuple):
    """A GPU, as its data sheet says."""

    memory: float  # bytes
    flops: float  # a second, dense, in bfloat16
    bandwidth: float  # bytes a second


GPUS = {
    "A100-80GB": Gpu(80 * GB, 312e12, 2.04e12),
    "H100-80GB": Gpu(80 * GB, 989e12, 3.35e12),
    "RTX 4090 (24 GB)": Gpu(24 * GB, 165e12, 1.01e12),
}
SHAPES = {
    "Qwen2.5-0.5B": Shape(24, 896, 4864, 14, 2, 64, 151_936, True),
    "Qwen3-0.6B": Shape(28, 1024, 3072, 16, 8, 128, 151_936, True),
    "Qwen2.5-1.5B": Shape(28, 1536, 8960, 12, 2, 128, 151_936, True),
    "Qwen2.5-3B": Shape(36, 2048, 11_008, 16, 2, 128, 151_936, True),
    "Qwen2.5-7B": Shape(28, 3584, 18_944, 28, 4, 128, 152_064, False),
    "Llama-3.1-8B": Shape(32, 4096, 14_336, 32, 8, 128, 128_256, False),
    "Qwen2.5-32B": Shape(64, 5120, 27_648, 40, 8, 128, 152_064, False),
}


class Memory(NamedTuple):
    """Bytes that each GPU holds in training, at most."""

    weights: float
    gradients: float
    moments: float  # Adam's
    activations: float
    head: float  # logits, and the gradient of the output head
    context: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)

    @property
    def resting(self) -> float:
        """What stays while vLLM draws: gradients and activations are gone."""
        return self.weights + self.moments + self.context


@dataclass(frozen=True)
class Place:
    """Where a model is trained, as the flags of grpo, sft, distill and reward-model say it.

    Attributes:
        number: bytes of a number: 2 with --dtype bfloat16, 4 with float32.
        budget: --token-budget, tokens of a pass.
        lora_rank: of an adapter on all linear layers, None where the whole model is trained.
        sharded: weights and optimizer are spread over the GPUs (recipes/fsdp2.yaml, recipes/deepspeed-zero3.yaml).
        checkpointing: activations are computed twice; None: by the size of the model, as the commands have it.
    """

    gpu: Gpu
    gpus: int = 1
    number: int = 2
    budget: int = 8192
    lora_rank: int | None = None
    sharded: bool = False
    checkpointing: bool | None = None

    def trained(self, shape: Shape) -> int:
        """Return how many parameters have a gradient."""
        if self.lora_rank is None:
            return shape.parameters
        attention = 4 * shape.hidden + 2 * shape.head_size * (shape.heads + shape.kv_heads)
        return shape.layers * self.lora_rank * (attention + 3 * (shape.hidden + shape.intermediate))

    def computes_twice(self, shape: Shape) -> bool:
        """Tell whether activations are checkpointed."""
        return shape.parameters > LARGE if self.checkpointing is None else self.checkpointing

    def memory(self, shape: Shape, row: int = 0) -> Memory:
        """Return what each GPU holds; `row`: tokens of the longest row, which grpo packs with a mask."""
        share = 1 / self.gpus if self.sharded else 1.0
        vocabulary = shape.vocabulary * shape.hidden
        gathered = 2 * shape.of_layer + (1 if shape.tied else 2) * vocabulary if self.sharded else 0
        trained = self.trained(shape) * share * (2 if self.gpus > 1 and not self.sharded else 1)  # and DDP's buckets
        states = 2 * self.trained(shape) * share
        of_layer = 8 * shape.hidden + 2 * shape.head_size * (shape.heads + shape.kv_heads) + 4 * shape.intermediate
        kept = shape.layers * shape.hidden + of_layer if self.computes_twice(shape) else shape.layers * of_layer
        mask = 3 * shape.heads // shape.kv_heads * row * self.budget  # of booleans, and as numbers to add
        return Memory(
            weights=self.number * (shape.parameters * share + gathered),
            gradients=self.number * trained,
            moments=self.number * states,
            activations=self.number * self.budget * kept + mask,
            head=min(self.budget, 4096) * TILE + (0 if self.lora_rank else 4 * vocabulary),
            context=CONTEXT,
        )

    def training_seconds(self, shape: Shape, tokens: float, row: float) -> float:
        """Return how long training on so many tokens takes, in rows of so many on average."""
        passes = (3 if self.computes_twice(shape) else 2) + (self.lora_rank is None)  # frozen weights have no gradient
        return passes * tokens * shape.flops(row / 2) / (UTILISATION * self.gpu.flops * self.gpus)

    def disk(self, shape: Shape, checkpoints: int = 2) -> float:
        """Return the bytes of a run folder: the model, and checkpoints, of which the newest two are kept."""
        trained = self.trained(shape)
        return self.number * (shape.parameters + checkpoints * 3 * trained)  # what is trained, and its moments


@dataclass(frozen=True)
class Draws:
    """Completions to sample.

    Attributes:
        count: completions, of all problems.
        mean, longest: tokens of a completion.
        prompt: tokens before it, computed once for each of `count / n`.
        n: completions of each prompt.
    """

    count: int
    mean: float
    longest: float
    prompt: float = 200
    n: int = 1

    @property
    def tokens(self) -> float:
        """Tokens of the completions."""
        return self.count * self.mean

    @property
    def disk(self) -> float:
        """Bytes of the rollouts as JSON Lines."""
        return TEXT * self.count * (self.mean + self.prompt)

    def seconds(self, shape: Shape, gpu: Gpu, gpus: int = 1, memory: float | None = None, together: int = 1) -> float:
        """Return how long sampling takes in half precision.

        Args:
            gpus: all of them.
            memory: bytes of each GPU that vLLM may have, default nine tenths.
            together: GPUs that share one copy of the weights (--tensor-parallel-size).
        """
        engines, weights = gpus / together, 2 * shape.parameters
        room = (0.9 * gpu.memory if memory is None else memory) * together - weights - CONTEXT
        looks_back = self.prompt + self.mean / 2
        seats = min(SEATS, self.count / engines, room / (shape.cache * looks_back))
        if seats < 1:
            raise ValueError("the weights leave no room for a completion's keys and values")
        speed, bandwidth = UTILISATION * gpu.flops * together, BANDWIDTH * gpu.bandwidth * together
        own = self.count / engines
        steps = max(0.0, own / seats - 1) * self.mean + self.longest
        token = SEAT + max(shape.flops(looks_back) / (2 * speed), shape.cache * looks_back / bandwidth)
        prompts = own / self.n * self.prompt * shape.flops(0) / speed
        return steps * (STEP + weights / bandwidth) + own * self.mean * token + prompts


def grpo_seconds(shape: Shape, place: Place, draws: Draws, share: float, scored: int = 1) -> float:
    """Return how long a step of GRPO takes: sample, train, and hand the new weights to vLLM.

    Args:
        draws: the completions of a step.
        share: of each GPU's memory, that vLLM has (--gpu-memory-utilization).
        scored: forward passes beside the training: one for old log-probabilities (with vLLM), one for a reference.
    """
    drawn = draws.seconds(shape, place.gpu, place.gpus, share * place.gpu.memory)
    row = draws.prompt + draws.mean
    tokens = draws.tokens + draws.count / draws.n * draws.prompt  # a prompt once for its completions
    forward = scored * tokens * shape.flops(row / 2) / (UTILISATION * place.gpu.flops * place.gpus)
    handed = 2 * place.number * shape.parameters / LOADING
    return WAITING * (drawn + place.training_seconds(shape, tokens, row) + forward + handed)


def grpo_memory(shape: Shape, place: Place, row: int, share: float, reference: bool = False) -> float:
    """Return the most bytes that a GPU holds in GRPO, where vLLM sleeps while the model trains.

    reference: whether there is a second model, for KL.
    """
    memory = place.memory(shape, row)
    other = place.number * shape.parameters / (place.gpus if place.sharded else 1) if reference else 0.0
    return other + max(memory.total, memory.resting + share * place.gpu.memory)
