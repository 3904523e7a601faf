#!/bin/sh
# `make bench`: the figures of doc/performance.md, measured in one run.
#
#   spec/bench/run.sh [--quick]      or QUICK=yes: fewer calls and rounds, for a look
#
# Needs what `make` builds, and of programs: a C compiler, openssl and nginx; without valgrind or curl
# their part is left out. Everything happens on loopback and in a private folder. Nothing is judged:
# a figure that misses its goal is printed like the others. Tables go to build/bench.md.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=spec/bench/common.sh
. spec/bench/common.sh
# shellcheck source=spec/bench/figures.sh
. spec/bench/figures.sh
# shellcheck source=spec/bench/neighbours.sh
. spec/bench/neighbours.sh
# shellcheck source=spec/bench/openresty.sh
. spec/bench/openresty.sh
# shellcheck source=spec/bench/tokens.sh
. spec/bench/tokens.sh

begin_benchmark
build_programs
start_server
check_same_request

{
  machine_facts
  instructions_for_each_call
  one_call_in_a_process
  many_calls_in_a_process
  tokens_and_their_cache
  inside_nginx
  beside_others
} >"$work/tables.md"
publish bench
