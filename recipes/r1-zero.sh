#!/usr/bin/env bash
# R1-Zero: reinforcement learning on a base model, no SFT (DeepSeek-R1, arXiv 2501.12948, section 2.2).
# Default: the embedded base on 2 CPU cores, about 5 minutes, 1.5 GB of memory, 100 MB of disk, no network.
# Smaller: STEPS=20 SAMPLES=4.
set -euo pipefail

: "${R1KIT:=r1kit}"
: "${MODEL:=base}"
: "${OUT:=out/r1-zero}"
: "${STEPS:=80}"   # optimiser steps of 128 completions
: "${SAMPLES:=16}" # completions of each held-out problem

mkdir -p "$OUT"

# 1. The held-out problems.
[ -s "$OUT/01-test.jsonl" ] || $R1KIT data arith --split test -o "$OUT/01-test.jsonl"

# 2. What the base can do: sample, grade.
$R1KIT rollout --model "$MODEL" -n "$SAMPLES" --max-tokens 128 --resume \
  "$OUT/01-test.jsonl" -o "$OUT/02-base-rollouts.jsonl"
[ -s "$OUT/02-base-scored.jsonl" ] || $R1KIT reward "$OUT/02-base-rollouts.jsonl" -o "$OUT/02-base-scored.jsonl"

# 3. GRPO with accuracy and format rewards. A finished run has a config.json; one that was stopped goes on.
if [ ! -s "$OUT/03-zero/config.json" ]; then
  resume=()
  [ ! -s "$OUT/03-zero/run.json" ] || resume=(--resume)
  $R1KIT grpo --model "$MODEL" --steps "$STEPS" --eval-samples "$SAMPLES" -o "$OUT/03-zero" "${resume[@]}"
fi

# 4. What the trained model can do.
$R1KIT rollout --model "$OUT/03-zero" -n "$SAMPLES" --max-tokens 128 --resume \
  "$OUT/01-test.jsonl" -o "$OUT/04-zero-rollouts.jsonl"
[ -s "$OUT/04-zero-scored.jsonl" ] || $R1KIT reward "$OUT/04-zero-rollouts.jsonl" -o "$OUT/04-zero-scored.jsonl"

# 5. The table, and the majority votes.
$R1KIT eval "$OUT/02-base-scored.jsonl" "$OUT/04-zero-scored.jsonl" -o "$OUT/05-metrics.jsonl"
$R1KIT vote "$OUT/04-zero-scored.jsonl" -o "$OUT/05-votes.jsonl"
