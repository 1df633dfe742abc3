"""The exact speed-ups of a training run, by the names that --without knows."""

PARTS = {
    "drop": "no training on rollouts without an advantage",
    "budget": "micro-batches by token budget, sorted and trimmed",
    "head": "logits for completion tokens only",
    "share": "prompts computed once for their completions",
    "engine": "r1kit's own sampling, and its log-probabilities as old ones",
    "overlap": "grading while others are drawn",
}
