"""Small random models of other families than the base."""


def other_models():
    """Yield tiny models whose attention, caches or positions differ from Llama's."""
    from transformers import (
        Gemma2Config,
        Gemma2ForCausalLM,
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        GPT2Config,
        GPT2LMHeadModel,
        MistralConfig,
        MistralForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    heads = {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": 1024}
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    return {
        "sliding window": lambda: MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=6)),
        "two kinds of layers": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(**sizes, **heads, sliding_window=6, layer_types=kinds)
        ),
        "capped scores": lambda: Gemma2ForCausalLM(
            Gemma2Config(**sizes, **heads, sliding_window=6, layer_types=kinds, attn_logit_softcapping=1.0)
        ),
        "learned positions": lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=1024)),
        "normed queries": lambda: Qwen3ForCausalLM(Qwen3Config(**sizes, **heads)),
    }
