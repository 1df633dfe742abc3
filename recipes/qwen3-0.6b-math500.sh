#!/usr/bin/env bash
# The published ladder of Qwen3-0.6B-Base on MATH-500 (github.com/rasbt/reasoning-from-scratch, chapters 3 to 8):
# prompts, votes, GRPO (DeepSeek-R1, arXiv 2501.12948, section 2.2) with KL and without, SFT on R1's traces. Beside each
# stage stands what was published, in percent; prompts, sampling and settings are the publication's. Network and a GPU.
# 1gpu reckoned: 0.58 hours on 1 A100-80GB, 0.32 hours on 1 H100-80GB; 39 GB of a GPU's memory in training, 26 GB of
# disk. (The publication's batches of one prompt do not fill a GPU: rather 2 hours.) Smaller: LIMIT=100.
# --scale tiny tries it all on the embedded base: 2 CPU cores, 2 minutes, 1.5 GB of memory, 70 MB of disk, no
# network; its numbers say little.
set -euo pipefail

: "${R1KIT:=r1kit}"
: "${SCALE:=1gpu}" # or tiny
: "${OUT:=out/qwen3-0.6b-math500}"
[ "${1:-}" != --scale ] || SCALE=$2
hub=https://huggingface.co/datasets/rasbt/math_distill/resolve/main/data
case $SCALE in
tiny)
  : "${MODEL:=base}" "${TEST:=arith}" "${TRAIN:=arith}" "${TRACES:=}" # no traces: no SFT
  : "${LIMIT:=8}" "${STEPS:=2}" "${MAX_TOKENS:=64}" "${TRAIN_TOKENS:=32}"
  draw=() gpu=() rl=() split=(--split test)
  ;;
1gpu)
  : "${MODEL:=Qwen/Qwen3-0.6B-Base}" "${TEST:=math500}" "${TRACES:=$hub/deepseek-r1-math-train.json}"
  : "${TRAIN:=https://raw.githubusercontent.com/rasbt/math_full_minus_math500/main/math_full_minus_math500.json}"
  : "${LIMIT:=500}" "${STEPS:=100}" "${MAX_TOKENS:=2048}" "${TRAIN_TOKENS:=512}"
  draw=(--engine vllm) split=() gpu=(--dtype bfloat16 --learning-rate 1e-5)
  rl=(--engine vllm --gpu-memory-utilization 0.4)
  ;;
*) echo "$0: SCALE is tiny or 1gpu" >&2 && exit 2 ;;
esac
plain='.prompt = "You are a helpful math assistant.\nAnswer the question and write the final result on a new line as:'
plain+='\n\\boxed{ANSWER}\n\nQuestion:\n\(.prompt)\n\nAnswer:"'
cot="$plain | .prompt += \"\\n\\nExplain step by step.\""
said='{prompt, completion: " <think>\(.message_thinking)</think>\n\n\(.message_content)"}'

made() { # FILE FILTER COMMAND…: what a command prints, through jq; whole or not there
  [ ! -s "$1" ] || return 0
  "${@:3}" | jq -c "$2" >"$1.part"
  mv "$1.part" "$1"
}
problems() { # a set that r1kit knows, or the address of a JSON file
  case $1 in
  https:*) curl -fsSL "$1" | jq -c '.[]' | $R1KIT data - --kind math ;;
  *) $R1KIT data "$@" ;;
  esac
}
measured=()
measure() { # NAME MODEL PROBLEMS FLAG…
  measured+=("$OUT/$1.jsonl")
  $R1KIT rollout --model "$2" --prompt-style raw --max-tokens "$MAX_TOKENS" "${draw[@]}" "${@:4}" --resume \
    "$OUT/01-$3.jsonl" -o "$OUT/$1-rollouts.jsonl"
  [ -s "$OUT/$1.jsonl" ] || $R1KIT reward --reward accuracy "$OUT/$1-rollouts.jsonl" -o "$OUT/$1.jsonl"
}
train() { # FOLDER COMMAND…: a finished run has a config.json; one that was stopped goes on
  [ ! -s "$1/config.json" ] || return 0
  local folder=$1 resume=()
  [ ! -s "$folder/run.json" ] || resume=(--resume)
  $R1KIT "${@:2}" --prompt-style raw "${gpu[@]}" -o "$folder" "${resume[@]}"
}
zero() { # FOLDER FLAG…: GRPO, a prompt a step
  train "$1" grpo --model "$MODEL" "$OUT/01-train.jsonl" --reward accuracy -n 8 --batch-size 8 --temperature 0.8 \
    --set "top_p=0.9" --steps "$STEPS" --save-every $((STEPS / 2)) --max-tokens "$TRAIN_TOKENS" "${rl[@]}" "${@:2}"
}
mkdir -p "$OUT"

# 1. MATH-500, asked plainly and with "Explain step by step."; and the 12,000 problems of MATH that are not in it.
made "$OUT/01-plain.jsonl" "$plain" problems "$TEST" --limit "$LIMIT" "${split[@]}"
made "$OUT/01-cot.jsonl" "$cot" problems "$TEST" --limit "$LIMIT" "${split[@]}"
made "$OUT/01-train.jsonl" "$plain" problems "$TRAIN"

# 2. The prompts, greedy.
measure 02-greedy "$MODEL" plain --temperature 0   # published: 15.2
measure 02-greedy-cot "$MODEL" cot --temperature 0 # published: 40.6

# 3. "Explain step by step.", sampled; votes of 3, 5 and 10.
measure 03-cot "$MODEL" cot --temperature 0.9 --top-p 0.9 -n 10 # published: 33.4
for n in 3 5 10; do                                             # published: 42.2, 48.0, 52.0
  [ -s "$OUT/03-vote-$n.jsonl" ] ||
    jq -c "select(.sample < $n)" "$OUT/03-cot.jsonl" | $R1KIT vote -o "$OUT/03-vote-$n.jsonl"
done

# 4. GRPO without KL, half of the steps and all of them.
zero "$OUT/04-grpo"
measure 04-grpo-half "$OUT/04-grpo/checkpoints/checkpoint-$((STEPS / 2))" plain --temperature 0 # published, 50: 47.4
measure 04-grpo "$OUT/04-grpo" plain --temperature 0                                            # published, 100: 44.0

# 5. GRPO with KL: it collapses.
zero "$OUT/05-kl" --set beta=0.02
measure 05-kl-half "$OUT/05-kl/checkpoints/checkpoint-$((STEPS / 2))" plain --temperature 0 # published, 50: 33.4
measure 05-kl "$OUT/05-kl" plain --temperature 0                                            # published, 100: 0.4

# 6. SFT on R1's traces: published, three epochs: 33.6.
if [ -n "$TRACES" ]; then
  made "$OUT/06-examples.jsonl" "$plain | $said" problems "$TRACES"
  train "$OUT/06-sft" sft --model "$MODEL" "$OUT/06-examples.jsonl" --epochs 3 --batch-size 1 --max-length 2048
  measure 06-sft "$OUT/06-sft" plain --temperature 0 --max-tokens 4096
fi

# 7. The table.
$R1KIT eval "${measured[@]}" -o "$OUT/07-metrics.jsonl"
