#!/usr/bin/env bash
# A lesson beside its Node twin under load: bash examples/bench/wrk.sh rest /users
#
# Needs wrk, node, taskset. The server has core 0 and wrk core 1. For each: requests per second,
# and the processor time that the server spent on one request (user and system, from /proc).
# For rest the third argument is how many users are added first.
set -euo pipefail
cd "$(dirname "$0")/../.."
lesson=$1 path=${2:-/} users=${3:-0} seconds=${SECONDS_EACH:-5}
cargo build --quiet --release -p "$lesson"
ticks=$(getconf CLK_TCK)
out=$(mktemp)
trap 'kill "$server" 2>/dev/null || true; rm -f "$out"' EXIT

# Clock ticks that a process has had, user and system.
spent() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

measure() {
  local name=$1 url before after requests
  shift
  PORT=0 taskset -c 0 "$@" >"$out" 2>/dev/null &
  server=$!
  until url=$(grep -o 'http://[^ ]*' "$out"); do sleep 0.1; done
  url=${url%/}
  for ((n = 0; n < users; n++)); do
    curl -s -o /dev/null -d "{\"name\":\"user $n\"}" "$url/user"
  done
  taskset -c 1 wrk -t1 -c32 -d1 "$url$path" >/dev/null
  before=$(spent "$server")
  taskset -c 1 wrk -t1 -c32 -d"$seconds" "$url$path" >"$out.wrk"
  after=$(spent "$server")
  requests=$(awk '/requests in/ { print $1 }' "$out.wrk")
  awk -v name="$name" -v r="$requests" -v s="$seconds" -v t=$((after - before)) -v hz="$ticks" \
    'BEGIN { printf "%-24s %8.0f requests/s %7.1f µs of processor per request\n", name, r / s, t / hz * 1e6 / r }'
  grep -E 'Non-2xx|Socket errors' "$out.wrk" || true
  rm -f "$out.wrk"
  kill "$server"
  wait "$server" 2>/dev/null || true
}

measure "$lesson$path" "target/release/$lesson"
measure "node $lesson$path" node "examples/node/$lesson.js"
