#!/usr/bin/env bash
# R1-Distill: a student imitates its teacher's chains of thought; beside it pure RL on the same student, measured alike
# (DeepSeek-R1, arXiv 2501.12948, sections 2.4 and 4.1; Qwen-32B on AIME 2024: distilled 72.6, pure RL 47.0).
# Default: the embedded student, taught by the embedded base's R1-Zero child; 2 CPU cores, about 10 minutes, 1.5 GB of
# memory, 60 MB of disk, no network. Smaller: ZERO_STEPS=20 PROBLEMS=200 STEPS=10 SAMPLES=4.
# --scale 1gpu: DeepSeek-R1-Distill-Qwen-7B teaches Qwen2.5-1.5B. 1gpu reckoned: 12 hours on 1 A100-80GB, 5.7 hours on 1
# H100-80GB; 52 GB of a GPU's memory in training, 62 GB of disk. Smaller: PROBLEMS=2000 MAX_TOKENS=4096.
set -euo pipefail

: "${R1KIT:=r1kit}"
: "${SCALE:=tiny}" # or 1gpu
: "${OUT:=out/distill}"
[ "${1:-}" != --scale ] || SCALE=$2
case $SCALE in
tiny)
  : "${TEACHER:=$OUT/02-teacher}" "${STUDENT:=student}" "${DATA:=arith}" "${TEST:=arith}" "${PROBLEMS:=4000}"
  : "${ZERO_STEPS:=80}" "${STEPS:=160}" "${MAX_TOKENS:=128}" "${SAMPLES:=16}"
  draw=() gpu=() rl=() measure=()
  keep=(--threshold "correct,format=1" --format prompt-completion)
  ;;
1gpu)
  : "${TEACHER:=deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}" "${STUDENT:=Qwen/Qwen2.5-1.5B}"
  : "${DATA:=openr1-math}" "${TEST:=math500}" "${PROBLEMS:=5000}" "${STEPS:=100}" "${MAX_TOKENS:=8192}" "${SAMPLES:=4}"
  draw=(--prompt-style boxed --temperature 0.6 --top-p 0.95 --engine vllm)
  gpu=(--dtype bfloat16 --token-budget 16384)
  rl=(--prompt-style r1-zero --learning-rate 1e-6 --batch-size 256 --engine vllm --gpu-memory-utilization 0.5)
  measure=(--max-tokens "$MAX_TOKENS" --engine vllm)
  keep=(--threshold correct --format messages) # the opening <think> that the prompt held is put back
  ;;
*) echo "$0: SCALE is tiny or 1gpu" >&2 && exit 2 ;;
esac
: "${N:=4}"      # the teacher's completions of each problem, and
: "${KEEP:=2}"   # how many of them are learnt from at most
: "${EPOCHS:=3}" # R1's are 2 to 3

train() { # FOLDER COMMAND…: a finished run has a config.json; one that was stopped goes on
  [ ! -s "$1/config.json" ] || return 0
  local folder=$1 resume=()
  [ ! -s "$folder/run.json" ] || resume=(--resume)
  $R1KIT "${@:2}" -o "$folder" "${resume[@]}"
}
mkdir -p "$OUT"

# 1. The problems to learn from, without those to measure on.
[ -s "$OUT/01-train.jsonl" ] ||
  $R1KIT data "$DATA" --shuffle --limit "$PROBLEMS" --decontaminate "$TEST" -o "$OUT/01-train.jsonl"

# 2. The teacher: the base's R1-Zero child, where no other is named.
[ "$TEACHER" != "$OUT/02-teacher" ] ||
  train "$TEACHER" grpo --model base "$OUT/01-train.jsonl" --steps "$ZERO_STEPS"

# 3. Its chains of thought: sampled, graded, the right and readable ones kept.
$R1KIT rollout --model "$TEACHER" -n "$N" --max-tokens "$MAX_TOKENS" "${draw[@]}" --resume \
  "$OUT/01-train.jsonl" -o "$OUT/03-rollouts.jsonl"
[ -s "$OUT/03-scored.jsonl" ] || $R1KIT reward "$OUT/03-rollouts.jsonl" -o "$OUT/03-scored.jsonl"
[ -s "$OUT/03-examples.jsonl" ] ||
  $R1KIT reject-sample --keep "$KEEP" "${keep[@]}" "$OUT/03-scored.jsonl" -o "$OUT/03-examples.jsonl"

# 4. The student imitates them: SFT, no RL.
train "$OUT/04-distilled" distill --teacher "$OUT/03-examples.jsonl" --student "$STUDENT" --epochs "$EPOCHS" "${gpu[@]}"

# 5. The same student by RL alone.
train "$OUT/05-pure-rl" grpo --model "$STUDENT" "$OUT/01-train.jsonl" --steps "$STEPS" --max-tokens "$MAX_TOKENS" \
  "${gpu[@]}" "${rl[@]}"

# 6. All four on the same problems, with the same sampling, and how the two students differ.
[ -s "$OUT/06-metrics.jsonl" ] ||
  $R1KIT eval --model "$OUT/05-pure-rl" --model "$OUT/04-distilled" --model "$STUDENT" --model "$TEACHER" --on "$TEST" \
    --samples "$SAMPLES" "${measure[@]}" --output-dir "$OUT/06-eval" --resume -o "$OUT/06-metrics.jsonl"
