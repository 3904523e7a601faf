# shellcheck shell=sh
# Read by run.sh: what the cache of tokens costs and spares. Needs no server.

tokens_and_their_cache() {
  echo
  echo "### Tokens and their cache"
  echo
  few=200
  many=1200
  tenants=10000
  if [ "$quick" = yes ]; then
    tenants=1000
  fi
  cost="not measured: valgrind is missing"
  if has valgrind; then
    say "instructions of a sync with a cached token"
    for round in 1 2 3; do
      instructions_of_each count_instructions "$LUA" spec/bench/token_cache.lua static
      of_text=$each
      instructions_of_each count_instructions "$LUA" spec/bench/token_cache.lua cached
      echo "$round $((each - of_text))"
    done >"$work/differences"
    cost="$(sort -n -k 2 "$work/differences" | sed -n '2s/.* //p') instructions"
  fi
  say "token requests of 1,000 coroutines, and of $tenants tenants in a day"
  attend "$LUA" spec/bench/token_cache.lua coroutines 1000 >"$work/at_once"
  attend "$LUA" spec/bench/token_cache.lua day "$tenants" >"$work/day"
  echo "| | measured | goal |"
  echo "|---|---|---|"
  echo "| a cached token for each sync, over a token that is a text | $cost | ≤ 2,000 instructions |"
  echo "| 1,000 coroutines that ask at once, the cache empty | token requests: $(cat "$work/at_once") | exactly 1 |"
  awk -F '\t' -v tenants="$tenants" '{
    printf "| %d tenants, tokens of 1 h, a day of hourly syncs, %s | ", tenants, $1
    printf "%d token requests for %d askings, %.2f %% over the least possible | ", $3, $2,
      ($3 / $4 - 1) * 100
    print "within 2 % of the least possible |"
  }' "$work/day"
}
