# shellcheck shell=bash
# Counts what passed and what failed, for the scripts of this folder (bash). A script that was
# started by another one adds to that one's count; only the outermost prints the closing line.

# Begins, or joins the count that is under way.
tally_begin() {
  tally_is_mine=no
  if [ -z "${AUTOPILOT_TALLY:-}" ]; then
    tally_is_mine=yes
    mkdir -p build/logs
    AUTOPILOT_TALLY=$(mktemp build/tally.XXXXXX)
    AUTOPILOT_TALLY=$PWD/$AUTOPILOT_TALLY
    export AUTOPILOT_TALLY
    trap 'rm -f "$AUTOPILOT_TALLY"' EXIT
  fi
  tally_failures_before=$(tally_failures)
  trap 'tally_interrupted' INT TERM
}

# Takes along what is running: `timeout` has a process group of its own, which Ctrl-C misses.
tally_interrupted() {
  local running
  running=$(jobs -p)
  # shellcheck disable=SC2086
  [ -z "$running" ] || kill $running 2>/dev/null || true
  exit 130
}

# tally_add LABEL PASSED FAILED [REMARK]
tally_add() {
  echo "$2 $3 $1" >>"$AUTOPILOT_TALLY"
  if [ "$3" = 0 ]; then
    printf '%-24s %6d ok%s\n' "$1" "$2" "${4:+  ($4)}"
  else
    printf '%-24s %6d ok, %d NOT OK%s\n' "$1" "$2" "$3" "${4:+  ($4)}"
  fi
}

# tally_failures: how many have failed up to now, in all
tally_failures() {
  awk '{ failed += $2 } END { print failed + 0 }' "$AUTOPILOT_TALLY"
}

# tally_log LABEL: the file that keeps what the step printed
tally_log() {
  mkdir -p build/logs
  echo "build/logs/$(echo "$1" | tr -c 'A-Za-z0-9.\n' '-').log"
}

# Runs a command with its output in a file: a background process that outlives it cannot hold us up,
# and a command that hangs (shell functions excepted) is ended after TALLY_TIMEOUT seconds (900).
# tally_capture LOG COMMAND...
tally_capture() {
  local log=$1
  shift
  if ! declare -F "$1" >/dev/null && command -v timeout >/dev/null; then
    set -- timeout -k 10 "${TALLY_TIMEOUT:-900}" "$@"
  fi
  "$@" </dev/null >"$log" 2>&1 &
  wait "$!"
}

# Says what an exit status other than 0 means.
tally_status() {
  case $1 in
    124 | 137) echo "ended after ${TALLY_TIMEOUT:-900} s" ;;
    *) echo "exit status $1" ;;
  esac
}

# Shows what a step printed, indented, so that none of it can be taken for our closing line.
tally_show() {
  sed 's/^/    /' "$1"
}

# One check: passed when the command succeeds. What it printed is shown when it does not.
# tally_check LABEL COMMAND...
tally_check() {
  local label=$1 log status=0
  shift
  log=$(tally_log "$label")
  tally_capture "$log" "$@" || status=$?
  if [ "$status" = 0 ]; then
    tally_add "$label" 1 0
  else
    tally_show "$log"
    tally_add "$label" 0 1 "$(tally_status "$status")"
  fi
}

# A run of many tests, counted by what it printed; without a count (a crash) it is one failure.
# tally_tests LABEL COMMAND...
tally_tests() {
  local label=$1 log status=0 passed failed pending remark
  shift
  log=$(tally_log "$label")
  tally_capture "$log" "$@" || status=$?
  read -r passed failed pending <<END
$(tally_count "$log")
END
  if [ $((passed + failed)) = 0 ] || { [ "$status" != 0 ] && [ "$failed" = 0 ]; }; then
    failed=$((failed + 1))
  fi
  if [ "$failed" != 0 ] || [ -n "${SPEC:-}" ]; then
    tally_show "$log"
  fi
  remark=""
  [ "$pending" = 0 ] || remark="$pending pending"
  [ "$status" = 0 ] || remark="${remark:+$remark, }$(tally_status "$status")"
  tally_add "$label" "$passed" "$failed" "$remark"
}

# Runs command lines, whose words have no blanks, two at a time: for what takes minutes. The longest come
# first, so that none is left alone at the end. One that ends with another status than 0 is a failure.
# tally_beside COMMAND-LINE...
tally_beside() {
  local line words pids=()
  for line in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge 2 ]; do
      wait -n || true
    done
    read -ra words <<<"$line"
    (
      trap 'tally_interrupted' INT TERM
      "${words[@]}"
    ) &
    pids+=("$!")
  done
  for line in "$@"; do
    wait "${pids[0]}" || tally_add "$line" 0 1 "exit status $?"
    pids=("${pids[@]:1}")
  done
}

# Prints how many passed, failed and are pending, from the last line with which busted
# (12 successes / 0 failures / 0 errors / 0 pending) or a C test (12 passed, 0 failed) says so.
tally_count() {
  awk '
    /^[0-9]+ success(es)? \/ [0-9]+ failures? \/ [0-9]+ errors? \/ [0-9]+ pending/ {
      passed = $1; failed = $4 + $7; pending = $10
    }
    /^[0-9]+ passed, [0-9]+ failed$/ { passed = $1; failed = $3; pending = 0 }
    END { print passed + 0, failed + 0, pending + 0 }
  ' "$1"
}

# A part of a script that says how long it took. One that fails without having counted a failure is a
# failure itself.
# tally_part LABEL COMMAND...
tally_part() {
  local label=$1 before started=$SECONDS status=0
  shift
  before=$(tally_failures)
  echo "--- $label"
  "$@" </dev/null || status=$?
  if [ "$status" != 0 ] && [ "$(tally_failures)" = "$before" ]; then
    tally_add "$label" 0 1 "exit status $status"
  fi
  echo "    $label took $((SECONDS - started)) s"
}

# Names each step that failed, and under it what its log tells of the failure: the tests that failed, or what a
# sanitizer or valgrind found; else its last lines.
tally_failed_tests() {
  local failed label log told
  told='^ *(Failure|Error) ->|FAILED|ERROR: |runtime error: |definitely lost|Invalid (read|write)'
  while read -r _ failed label; do
    [ "$failed" != 0 ] || continue
    echo "$failed not ok: $label"
    log=$(tally_log "$label")
    if [ -e "$log" ]; then
      { grep -A 8 -E "$told" "$log" || tail -n 10 "$log"; } | head -n 30 | sed 's/^/    /'
    fi
  done <"$AUTOPILOT_TALLY"
}

# Ends a script: the closing line when it is the outermost, and a status that tells of failures.
tally_end() {
  local passed failed
  if [ "$tally_is_mine" = no ]; then
    [ "$(tally_failures)" = "$tally_failures_before" ]
    return
  fi
  tally_failed_tests
  read -r passed failed <<END
$(awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }' "$AUTOPILOT_TALLY")
END
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}
