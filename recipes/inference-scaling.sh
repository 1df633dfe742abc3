#!/usr/bin/env bash
# Inference-time scaling: accuracy against generated tokens, by method and budget, and the best method for each problem
# (Snell et al. 2024, arXiv 2408.03314; Beeching et al. 2024, search-and-learn).
# Default: the embedded base and 200 held-out problems on 2 CPU cores, about 4 minutes, 1.5 GB of memory, 20 MB of disk,
# no network.
# Smaller: PROBLEMS=50 BUDGETS="1 4 16". Its R1-Zero child: MODEL=out/r1-zero/03-zero (recipes/r1-zero.sh makes it).
# With a process reward model (PRM=folder) best-of-n, beam, dvts and lookahead under it are measured too; SEARCHES=beam
# measures that one alone.
set -euo pipefail

: "${R1KIT:=r1kit}"
: "${MODEL:=base}"
: "${STYLE:=}" # of prompts: r1-zero, chat, cot, boxed, raw; else the model's own
: "${PRM:=}"
: "${OUT:=out/inference-scaling}"
: "${DATA:=arith}" "${PROBLEMS:=200}"
: "${BUDGETS:=1 4 16 64}" # completions, or candidates of a search
: "${MAX_TOKENS:=128}"
: "${SEPARATOR:=. }" # ends a step of the embedded world; of models that write paragraphs it is "\n\n"
: "${SEARCHES:=}" # else all that can be done
: "${WIDTH:=4}" # continuations of each step that a search keeps

most=${BUDGETS##* }
style=()
[ -z "$STYLE" ] || style=(--prompt-style "$STYLE")
mkdir -p "$OUT"

# 1. The problems.
[ -s "$OUT/01-test.jsonl" ] || $R1KIT data "$DATA" --split test --limit "$PROBLEMS" -o "$OUT/01-test.jsonl"

# 2. Completions for the largest budget; smaller ones take the first of them.
$R1KIT rollout --model "$MODEL" "${style[@]}" -n "$most" --max-tokens "$MAX_TOKENS" --logprobs --resume \
  "$OUT/01-test.jsonl" -o "$OUT/02-rollouts.jsonl"

# 3. Votes: the majority (self-consistency), weighted by probability, and the likeliest completion.
votes=()
for n in $BUDGETS; do
  for method in majority weighted best-of-n; do
    votes+=("$OUT/03-$method-$n.jsonl")
    by=(--by logprob)
    [ "$method" != majority ] || by=()
    [ -s "${votes[-1]}" ] || jq -c "select(.sample < $n)" "$OUT/02-rollouts.jsonl" |
      $R1KIT vote --method "$method" "${by[@]}" -o "${votes[-1]}"
  done
done

# 4. Searches: by log-probability, self-consistency that stops early, and under the process reward model.
searches=(beam self-consistency)
[ -z "$PRM" ] || searches=(best-of-n beam dvts lookahead self-consistency)
[ -z "$SEARCHES" ] || read -ra searches <<<"$SEARCHES"
prm=()
[ -z "$PRM" ] || prm=(--prm "$PRM")
for n in $BUDGETS; do
  [ "$n" -ge "$WIDTH" ] || continue
  for search in "${searches[@]}"; do
    found="$OUT/04-$search-$n.jsonl"
    $R1KIT rollout --model "$MODEL" "${style[@]}" --search "$search" -n "$n" --width "$WIDTH" \
      --separator "$SEPARATOR" "${prm[@]}" --max-tokens "$MAX_TOKENS" --resume "$OUT/01-test.jsonl" -o "$found"
    ways=(best-of-n)
    [ -z "$PRM" ] || ways+=(weighted)
    [ "$search" != self-consistency ] || ways=(majority)
    for method in "${ways[@]}"; do
      votes+=("$OUT/05-$search-$method-$n.jsonl")
      by=(--by score)
      [ "$method" != majority ] || by=()
      [ -s "${votes[-1]}" ] || $R1KIT vote --method "$method" "${by[@]}" "$found" -o "${votes[-1]}"
    done
  done
done

# 5. The table and the plot on stderr; as records, with the best choice for each difficulty and budget.
$R1KIT compute-optimal "${votes[@]}" --pilot "$OUT/02-rollouts.jsonl" -o "$OUT/06-policy.jsonl"

# 6. The policy, on problems it has not seen.
[ -s "$OUT/07-new.jsonl" ] || $R1KIT data "$DATA" --split train --limit "$PROBLEMS" -o "$OUT/07-new.jsonl"
$R1KIT rollout --model "$MODEL" "${style[@]}" --search auto --budget 16 --policy "$OUT/06-policy.jsonl" \
  --width "$WIDTH" --separator "$SEPARATOR" "${prm[@]}" --max-tokens "$MAX_TOKENS" --logprobs --resume \
  "$OUT/07-new.jsonl" -o "$OUT/08-auto.jsonl"
$R1KIT vote --method policy "$OUT/08-auto.jsonl" -o "$OUT/09-votes.jsonl"
