#!/usr/bin/env bash
# Stands in for r1kit, accelerate, torchrun and curl when a recipe is tried without running it.
# Appends each command line to $RECORD: launcher and command with an empty word between them, each word ended by the
# character 31, each line by 30. Leaves what later stages look for: a record without fields where -o says, or a model
# folder where a command trains. Prints nothing; of curl, an empty list.
set -euo pipefail

[ ! -p /dev/stdin ] || cat >/dev/null
case ${0##*/} in
curl) echo '[]' && exit ;;
accelerate | torchrun)
  launcher=("${0##*/}")
  while [ "$1" != -m ]; do launcher+=("$1") && shift; done
  [ "$2" = r1kit ] || exit 2
  shift 2
  ;;
*) launcher=() ;;
esac
{
  printf '%s\x1f' "${launcher[@]}" "" "$@"
  printf '\x1e'
} >>"$RECORD"

command=$1 output=""
while [ $# -gt 1 ]; do
  [ "$1" != -o ] && [ "$1" != --output ] || output=$2
  shift
done
case $command:$output in
*: | *:-) ;;
grpo:* | sft:* | distill:* | reward-model:*)
  mkdir -p "$output"
  for name in config.json run.json r1kit.json log.jsonl samples.jsonl model.safetensors; do
    echo '{}' >"$output/$name"
  done
  ;;
*) mkdir -p "${output%/*}" && echo '{}' >"$output" ;;
esac
