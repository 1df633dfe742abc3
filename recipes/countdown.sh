#!/usr/bin/env bash
# Countdown, TinyZero's task (github.com/Jiayi-Pan/TinyZero): R1-Zero (DeepSeek-R1, arXiv 2501.12948, section 2.2) on
# puzzles in which given numbers must make a target. reasoning-gym makes and grades them (pip install
# 'r1kit[reasoning-gym]'): any expression that uses each number once is right.
# Default: two steps of the embedded base on 2 CPU cores, a minute, 1.5 GB of memory, 20 MB of disk, no network. It
# only shows that all runs: the base was not made for this. TinyZero found that models of 0.5B guess and stop, and that
# from 1.5B on they learn to search and to check themselves.
# --scale 1gpu: Qwen2.5-3B. 1gpu reckoned: 18 hours on 1 A100-80GB, 6.8 hours on 1 H100-80GB; 59 GB of a GPU's memory in
# training, 49 GB of disk. Smaller: MODEL=Qwen/Qwen2.5-1.5B, STEPS=100.
set -euo pipefail

: "${R1KIT:=r1kit}"
: "${SCALE:=tiny}" # or 1gpu
: "${OUT:=out/countdown}"
[ "${1:-}" != --scale ] || SCALE=$2
case $SCALE in
tiny)
  : "${MODEL:=base}" "${STEPS:=2}" "${TRAIN:=64}" "${TEST:=16}" "${BATCH:=32}" "${MAX_TOKENS:=64}" "${SAMPLES:=2}"
  draw=() train=()
  ;;
1gpu) # 256 prompts a step, 1,024 tokens, 1e-6, KL 0.001: TinyZero's; groups of GRPO take the place of its critic
  : "${MODEL:=Qwen/Qwen2.5-3B}" "${STEPS:=200}" "${TRAIN:=50000}" "${TEST:=512}" "${BATCH:=1280}" "${MAX_TOKENS:=1024}"
  : "${SAMPLES:=4}"
  draw=(--engine vllm)
  train=(-n 5 --learning-rate 1e-6 --set beta=0.001 --dtype bfloat16 --engine vllm --gpu-memory-utilization 0.4)
  ;;
*) echo "$0: SCALE is tiny or 1gpu" >&2 && exit 2 ;;
esac
rewards=(--reward "accuracy,format:0.1") # TinyZero's
puzzles=(--task-arg min_numbers=3 --task-arg max_numbers=4 --task-arg min_target=10 --task-arg max_target=100)
mkdir -p "$OUT"

# 1. The puzzles: three or four numbers from 1 to 100.
[ -s "$OUT/01-train.jsonl" ] ||
  $R1KIT data reasoning-gym:countdown -n "$TRAIN" --seed 1 "${puzzles[@]}" -o "$OUT/01-train.jsonl"
[ -s "$OUT/01-test.jsonl" ] ||
  $R1KIT data reasoning-gym:countdown -n "$TEST" --seed 2 "${puzzles[@]}" -o "$OUT/01-test.jsonl"

# 2. What the base can do.
$R1KIT rollout --model "$MODEL" --prompt-style r1-zero -n "$SAMPLES" --max-tokens "$MAX_TOKENS" "${draw[@]}" --resume \
  "$OUT/01-test.jsonl" -o "$OUT/02-base-rollouts.jsonl"
[ -s "$OUT/02-base.jsonl" ] || $R1KIT reward "${rewards[@]}" "$OUT/02-base-rollouts.jsonl" -o "$OUT/02-base.jsonl"

# 3. GRPO. A finished run has a config.json; one that was stopped goes on.
if [ ! -s "$OUT/03-zero/config.json" ]; then
  resume=()
  [ ! -s "$OUT/03-zero/run.json" ] || resume=(--resume)
  $R1KIT grpo --model "$MODEL" "$OUT/01-train.jsonl" --prompt-style r1-zero "${rewards[@]}" --steps "$STEPS" \
    --batch-size "$BATCH" --max-tokens "$MAX_TOKENS" "${train[@]}" -o "$OUT/03-zero" "${resume[@]}"
fi

# 4. What the trained model can do.
$R1KIT rollout --model "$OUT/03-zero" -n "$SAMPLES" --max-tokens "$MAX_TOKENS" "${draw[@]}" --resume \
  "$OUT/01-test.jsonl" -o "$OUT/04-zero-rollouts.jsonl"
[ -s "$OUT/04-zero.jsonl" ] || $R1KIT reward "${rewards[@]}" "$OUT/04-zero-rollouts.jsonl" -o "$OUT/04-zero.jsonl"

# 5. The table.
$R1KIT eval "$OUT/02-base.jsonl" "$OUT/04-zero.jsonl" -o "$OUT/05-metrics.jsonl"
