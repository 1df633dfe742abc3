#!/usr/bin/env bash
# DeepSeek-R1 from the base model to the paper's tables (arXiv 2501.12948), stage by stage, at the scale at hand:
#
#   1 R1-Zero · 2 cold start · 3 reasoning RL · 4 rejection sampling · 5 SFT of the base · 6 final RL · 7 distillation
#   8 evaluation · 9 inference-time scaling · 10 report
#
# Default: the embedded base on 2 CPU cores, about 30 minutes, 2 GB of memory, 0.4 GB of disk, no network.
# --scale 1gpu: Qwen2.5-1.5B and Qwen3-0.6B-Base, 20,000 problems of DeepMath, MBPP and UltraFeedback. 1gpu reckoned: 24
# hours on 1 A100-80GB, 13 hours on 1 H100-80GB; 52 GB of a GPU's memory in training, 160 GB of disk.
# --scale 8gpu: Qwen2.5-7B and Qwen2.5-1.5B, 40,000 problems. 8gpu reckoned: 70 hours on 8 A100-80GB, 38 hours on 8
# H100-80GB; 59 GB of a GPU's memory in training, 770 GB of disk.
# Smaller: ZERO_STEPS=20 RL_STEPS=10 LAST_STEPS=20. Stages alone, on what the others left: bash recipes/r1.sh 8 9 10
# What is whole is not made again: after a failure or a kill, the same line goes on. GPQA-Diamond is gated; without it:
# BENCHMARKS=math500,aime24.
set -euo pipefail

: "${R1KIT:=r1kit}"
: "${SCALE:=tiny}" # or 1gpu, 8gpu
: "${SEED:=0}"
read -ra r1kit <<<"$R1KIT"
if [ "${1:-}" = --scale ]; then SCALE=$2 && shift 2; fi
: "${OUT:=out/r1-$SCALE}"
case $SCALE in
tiny)
  : "${MODEL:=base}" "${STUDENT:=student}" "${PAIRS:=preferences}" "${BENCHMARKS:=arith,functions,facts}"
  : "${SEARCHED_ON:=arith}" "${SEARCHED:=100}" "${BUDGETS:=1 4 16}" "${SEPARATOR:= = }"
  : "${N:=8}" "${BATCH:=128}" "${RATE:=5e-4}" "${LAST_RATE:=2.5e-4}" "${MAX_TOKENS:=128}" "${EVAL_TOKENS:=128}"
  : "${TEMPERATURE:=1}" "${ZERO_STEPS:=80}" "${RL_STEPS:=80}" "${LAST_STEPS:=80}" "${GENERAL_STEPS:=60}"
  : "${PURE_STEPS:=120}" "${COLD:=1000}" "${SAMPLED:=1500}" "${MIXED:=500}" "${CHAINS:=500}"
  train=("${r1kit[@]}") draw=() gpu=() rl=() eval=(--samples 16)
  sft=(--batch-size 32 --epochs 3) rm=(--batch-size 16 --epochs 6 --eval preferences) prm=(--batch-size 16 --epochs 4)
  general=(--reward general=accuracy) keep_general=(--threshold correct --keep 3)
  ;;
1gpu)
  : "${MODEL:=Qwen/Qwen2.5-1.5B}" "${STUDENT:=Qwen/Qwen3-0.6B-Base}" "${MATH:=20000}" "${DIFFICULTY:=5}"
  : "${N:=8}" "${BATCH:=256}" "${MAX_TOKENS:=3072}" "${EVAL_TOKENS:=8192}" "${COLD:=2000}" "${SAMPLED:=8000}"
  train=("${r1kit[@]}") gpu=(--dtype bfloat16 --token-budget 16384) draw=(--gpu-memory-utilization 0.9)
  rl=(--engine vllm --gpu-memory-utilization 0.5)
  ;;
8gpu)
  : "${MODEL:=Qwen/Qwen2.5-7B}" "${STUDENT:=Qwen/Qwen2.5-1.5B}" "${MATH:=40000}" "${DIFFICULTY:=10}"
  : "${N:=16}" "${BATCH:=512}" "${MAX_TOKENS:=8192}" "${EVAL_TOKENS:=16384}" "${COLD:=4000}" "${SAMPLED:=20000}"
  train=(accelerate launch --config_file "$(dirname "$0")/fsdp2.yaml" --num_processes 8 -m r1kit)
  gpu=(--dtype bfloat16 --token-budget 16384) draw=(--tensor-parallel-size 4 --gpu-memory-utilization 0.9)
  rl=(--engine vllm --gpu-memory-utilization 0.6 --gradient-checkpointing)
  ;;
*) echo "$0: SCALE is tiny, 1gpu or 8gpu" >&2 && exit 2 ;;
esac
if [ "$SCALE" != tiny ]; then
  : "${PAIRS:=trl-lib/ultrafeedback_binarized}" "${BENCHMARKS:=math500,aime24,gpqa-diamond}"
  : "${SEARCHED_ON:=math500}" "${SEARCHED:=100}" "${BUDGETS:=1 4 16 64}" "${SEPARATOR:=\n\n}"
  : "${RATE:=1e-6}" "${LAST_RATE:=1e-6}" "${TEMPERATURE:=0.7}" "${ZERO_STEPS:=200}" "${RL_STEPS:=100}"
  : "${LAST_STEPS:=100}" "${GENERAL_STEPS:=25}" "${PURE_STEPS:=200}" "${MIXED:=5000}" "${CHAINS:=500}"
  eval=() # R1's samples of each benchmark
  sft=(--epochs 2 --learning-rate 1e-5 --max-length "$((MAX_TOKENS + 1024))") prm=(--max-length 4096)
  rm=(--max-length 2048 --center-rewards-coefficient 0.01)
  general=(--reward "general=model:$OUT/04-preference" --score-text final) keep_general=(--threshold 0)
fi
rules="accuracy,format:0.2,language" # sections 2.2.2 and 2.3.2; format counts little, as whoever is right soon has it
mkdir -p "$OUT"

make() { # OUTPUT COMMAND…: keeps what a command prints, once it has ended well
  [ ! -s "$OUT/$1" ] || return 0
  "${@:2}" >"$OUT/$1.part"
  mv "$OUT/$1.part" "$OUT/$1"
}
run() { # COMMAND FOLDER FLAGS…: trains; a finished run has a config.json, one that was stopped goes on
  local command=$1 folder=$OUT/$2 resume=()
  [ ! -s "$folder/config.json" ] || return 0
  [ ! -s "$folder/run.json" ] || resume=(--resume)
  "${train[@]}" "$command" --seed "$SEED" "${gpu[@]}" "${@:3}" -o "$folder" "${resume[@]}"
}
sample() { # MODEL PROBLEMS OUTPUT FLAGS…
  [ -s "$OUT/$3" ] || "${r1kit[@]}" rollout --model "$1" --max-tokens "$MAX_TOKENS" --seed "$SEED" "${draw[@]}" \
    "${@:4}" --resume "$OUT/$2" -o "$OUT/$3"
}
rlvr() { # FOLDER FLAGS… PROBLEMS: reinforcement learning
  run grpo "$1" -n "$N" --batch-size "$BATCH" --learning-rate "$RATE" --max-tokens "$MAX_TOKENS" "${rl[@]}" "${@:2}"
}

# The problems: mathematics and code, which rules can judge, and general questions.
problems() {
  case $SCALE in
  tiny)
    make 00-math.jsonl "${r1kit[@]}" data arith --split train
    make 00-code.jsonl "${r1kit[@]}" data functions --split train
    make 00-general.jsonl questions
    ;;
  *)
    make 00-deepmath.jsonl deepmath
    [ -s "$OUT/00-math.jsonl" ] || "${r1kit[@]}" data "$OUT/00-deepmath.jsonl" --dedup exact --decontaminate math500 \
      --decontaminate aime24 --limit "$MATH" -o "$OUT/00-math.jsonl"
    make 00-code.jsonl "${r1kit[@]}" data mbpp --split train
    make 00-general.jsonl "${r1kit[@]}" data HuggingFaceH4/ultrafeedback_binarized --split train_sft --shuffle \
      --limit 5000 --kind general --language en
    ;;
  esac
  make 00-reasoning.jsonl cat "$OUT/00-math.jsonl" "$OUT/00-code.jsonl"
}
reasoning() { # LIMIT: the code, and so many problems of mathematics
  cat "$OUT/00-code.jsonl"
  head -n "$1" "$OUT/00-math.jsonl"
}
questions() { # those with a gold answer, then those of the preference pairs
  { "${r1kit[@]}" data facts --split train && "${r1kit[@]}" data preferences --kind general; } |
    jq -c '{id, prompt, answer, kind, language}' | "${r1kit[@]}" data - --dedup exact
}
asked() { # general prompts that no model was trained on
  case $SCALE in
  tiny) "${r1kit[@]}" data preferences --split test --kind general | jq -c '{id, prompt, kind, language}' ;;
  *)
    "${r1kit[@]}" data HuggingFaceH4/ultrafeedback_binarized --split test_sft --limit 300 --kind general --language en
    ;;
  esac | "${r1kit[@]}" data - --dedup exact
}
deepmath() {
  "${r1kit[@]}" data deepmath |
    jq -c "select(.difficulty <= $DIFFICULTY) | del(.r1_solution_1, .r1_solution_2, .r1_solution_3)"
}

# 1. R1-Zero (section 2.2): GRPO on the base, no SFT; rewards accuracy and format. R1: 16 completions of each of 32
#    questions a step, learning rate 3e-6, KL 0.001, temperature 1; AIME 2024 rose from 15.6 to 71.0 %.
stage_1() {
  rlvr 01-zero --model "$MODEL" --prompt-style r1-zero --steps "$ZERO_STEPS" --reward accuracy,format:0.2 \
    "$OUT/00-reasoning.jsonl"
}

# 2. Cold start (section 2.3.1): thousands of R1-Zero's completions that are right, in form, and in one language; SFT.
stage_2() {
  make 02-problems.jsonl head -n "$COLD" "$OUT/00-math.jsonl"
  sample "$OUT/01-zero" 02-problems.jsonl 02-rollouts.jsonl -n 4
  [ -s "$OUT/02-scored.jsonl" ] || "${r1kit[@]}" reward "$OUT/02-rollouts.jsonl" -o "$OUT/02-scored.jsonl"
  [ -s "$OUT/02-examples.jsonl" ] || "${r1kit[@]}" reject-sample "$OUT/02-scored.jsonl" --threshold correct,format=1 \
    --mixed-language 0.95 --select random -o "$OUT/02-examples.jsonl"
  run sft 02-cold --model "$MODEL" --prompt-style r1-zero "${sft[@]}" "$OUT/02-examples.jsonl"
}

# 3. Reasoning RL (section 2.3.2): the share of words in the asker's language is added to the reward.
stage_3() {
  rlvr 03-rl --model "$OUT/02-cold" --steps "$RL_STEPS" --reward "$rules" "$OUT/00-reasoning.jsonl"
}

# 4. Rejection sampling (section 2.3.3): reasoning that rules call right, and general answers of the base, three to one
#    (R1: 600k and 200k). Where general questions have no gold answer, the preference model of stage 6 chooses.
stage_4() {
  make 04-problems.jsonl reasoning "$SAMPLED"
  sample "$OUT/03-rl" 04-problems.jsonl 04-rollouts.jsonl -n 4
  [ -s "$OUT/04-scored.jsonl" ] ||
    "${r1kit[@]}" reward --reward "$rules" "$OUT/04-rollouts.jsonl" -o "$OUT/04-scored.jsonl"
  run reward-model 04-preference --model "$MODEL" "${rm[@]}" "$PAIRS"
  sample "$MODEL" 00-general.jsonl 04-general-rollouts.jsonl -n 8 --prompt-style cot
  [ -s "$OUT/04-general-scored.jsonl" ] ||
    "${r1kit[@]}" reward "${general[@]}" "$OUT/04-general-rollouts.jsonl" -o "$OUT/04-general-scored.jsonl"
  [ -s "$OUT/04-general.jsonl" ] ||
    "${r1kit[@]}" reject-sample "$OUT/04-general-scored.jsonl" "${keep_general[@]}" -o "$OUT/04-general.jsonl"
  [ -s "$OUT/04-examples.jsonl" ] || "${r1kit[@]}" reject-sample "$OUT/04-scored.jsonl" --threshold correct,format=1 \
    --select random --mix "$OUT/04-general.jsonl:0.25" -o "$OUT/04-examples.jsonl"
}

# 5. SFT (section 2.3.3): the base again, not the model of stage 3; two to three epochs.
stage_5() {
  run sft 05-sft --model "$MODEL" --prompt-style r1-zero "${sft[@]}" "$OUT/04-examples.jsonl"
}

# 6. Final RL (section 2.3.4): rules where there are rules; else the preference model, which reads what follows the
#    reasoning, in the last steps alone (R1: 400 of 1,700, at temperature 0.7, for which the embedded base is too sure).
#    At the rate of the other runs, the embedded base forgot some sums with one of three seeds.
stage_6() {
  make 06-reasoning.jsonl reasoning "$MIXED"
  make 06-problems.jsonl cat "$OUT/06-reasoning.jsonl" "$OUT/00-general.jsonl"
  RATE=$LAST_RATE rlvr 06-r1 --model "$OUT/05-sft" --steps "$LAST_STEPS" --last-steps "general:$GENERAL_STEPS" \
    --temperature "$TEMPERATURE" \
    --reward "math=$rules" "code=$rules" "general=model:$OUT/04-preference,format:0.2" --score-text final \
    "$OUT/06-problems.jsonl"
}

# 7. Distillation (section 2.4): SFT of a small model on the examples of stage 4, no RL; beside it RL alone on the same
#    model (section 4.1, on AIME 2024: R1-Distill-Qwen-32B 72.6 %, RL alone on Qwen-32B 47.0 %).
stage_7() {
  run distill 07-distilled --teacher "$OUT/04-examples.jsonl" --student "$STUDENT" --prompt-style r1-zero "${sft[@]}"
  rlvr 07-pure-rl --model "$STUDENT" --prompt-style r1-zero --steps "$PURE_STEPS" --reward accuracy,format:0.2 \
    "$OUT/00-reasoning.jsonl"
}

# 8. Evaluation (section 3; tables 3 to 6): pass@1 over k samples at temperature 0.6 and top-p 0.95, cons@k, format,
#    language. The first of --model is what the others are compared with. Where the paper asks a model which general
#    answers are better (AlpacaEval, Arena-Hard), here is the preference model's mean reward on prompts that none has
#    seen; R1 was trained to please it, so that a part of its gain there is the judge's errors.
stage_8() {
  measure 08-metrics "" "$MODEL" "$OUT"/{01-zero,02-cold,03-rl,05-sft,06-r1}
  measure 08-small "" "$STUDENT" "$OUT"/{07-pure-rl,07-distilled}
  make 08-asked.jsonl asked
  local model judged=()
  for model in "$MODEL" "$OUT"/{01-zero,05-sft,06-r1}; do
    judged+=("$OUT/08-general-${model##*/}.jsonl")
    sample "$model" 08-asked.jsonl "08-answers-${model##*/}.jsonl" -n 4 --temperature 0.6 --prompt-style r1-zero
    [ -s "${judged[-1]}" ] || "${r1kit[@]}" reward --reward "model:$OUT/04-preference" --score-text final \
      "$OUT/08-answers-${model##*/}.jsonl" -o "${judged[-1]}"
  done
  make 08-general.jsonl "${r1kit[@]}" eval "${judged[@]}"
}
measure() { # OUTPUT PREFILL MODEL…
  local model models=()
  for model in "${@:3}"; do models+=(--model "$model"); done
  [ -s "$OUT/$1.jsonl" ] || "${r1kit[@]}" eval "${models[@]}" --on "$BENCHMARKS" "${eval[@]}" "${draw[@]}" --paper \
    --max-tokens "$EVAL_TOKENS" --prompt-style r1-zero --prefill "$2" --resume --output-dir "$OUT/${1%%-*}-eval" \
    -o "$OUT/$1.jsonl"
}

# 9. Inference-time scaling of the base, of the distilled student and of R1: a chain of thought against none (closed
#    before it begins), votes, and search under a process reward model. Its labels are the shares of right ends that R1
#    reaches from each step of weaker chains, the base's and the student's (Math-Shepherd, arXiv 2312.08935). R1 tried
#    such models and search as training signals, and dropped both (section 4.2).
stage_9() {
  local model folder models=("$MODEL" "$OUT/07-distilled" "$OUT/06-r1")
  measure 09-no-thought "<think> </think> <answer>" "${models[@]}"
  make 09-problems.jsonl head -n "$CHAINS" "$OUT/00-math.jsonl"
  make 09-others.jsonl tail -n "$CHAINS" "$OUT/00-math.jsonl"
  sample "$MODEL" 09-problems.jsonl 09-chains-base.jsonl -n 4 --prompt-style r1-zero
  sample "$OUT/07-pure-rl" 09-others.jsonl 09-chains-student.jsonl -n 4
  make 09-chains.jsonl cat "$OUT/09-chains-base.jsonl" "$OUT/09-chains-student.jsonl"
  sample "$OUT/06-r1" 09-chains.jsonl 09-continued.jsonl -n 2 --from-steps --separator "$SEPARATOR"
  [ -s "$OUT/09-continued-scored.jsonl" ] ||
    "${r1kit[@]}" reward --reward accuracy "$OUT/09-continued.jsonl" -o "$OUT/09-continued-scored.jsonl"
  [ -s "$OUT/09-steps.jsonl" ] || "${r1kit[@]}" reject-sample "$OUT/09-continued-scored.jsonl" --steps --keep all \
    --step-labels soft --separator "$SEPARATOR" -o "$OUT/09-steps.jsonl"
  run reward-model 09-prm --process --model "$MODEL" --separator "$SEPARATOR" "${prm[@]}" "$OUT/09-steps.jsonl"
  for model in "${models[@]}"; do
    folder=$OUT/09-scaling/${model##*/}
    env R1KIT="$R1KIT" MODEL="$model" STYLE=r1-zero PRM="$OUT/09-prm" OUT="$folder" DATA="$SEARCHED_ON" \
      PROBLEMS="$SEARCHED" BUDGETS="$BUDGETS" MAX_TOKENS="$MAX_TOKENS" SEPARATOR="$SEPARATOR" \
      SEARCHES="best-of-n beam self-consistency" bash "$(dirname "$0")/inference-scaling.sh"
  done
}

# 10. The page: which model comes of which data, curves, tables, and the rollouts themselves.
stage_10() {
  "${r1kit[@]}" report "$OUT" --rollouts 6000 -o "$OUT/report.html"
}

[ $# -gt 0 ] || set -- 1 2 3 4 5 6 7 8 9 10
problems
for stage in "$@"; do
  SECONDS=0
  "stage_$stage"
  echo "$0: stage $stage: $((SECONDS / 60)) min $((SECONDS % 60)) s" >&2
done
