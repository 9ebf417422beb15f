#!/usr/bin/env bash
# Short runs of several shapes at once on one GPU: compare.sh DATA OUT SECONDS SHAPE...
set -eu
data=$1 out=$2 seconds=$3
shift 3
pids=()
for shape in "$@"; do
  python3 -m training.train --config "$shape" --data "$data" --out "$out" --max-seconds "$seconds" --compile \
    >"$out/$shape.log" 2>&1 &
  pids+=("$!")
done
for pid in "${pids[@]}"; do wait "$pid" || echo "a run failed; see its log"; done
grep -h -E "END|compiled|Error" "$out"/*.log
