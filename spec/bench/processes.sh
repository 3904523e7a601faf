# shellcheck shell=sh
# Read by common.sh: a private folder, and processes that never outlive the script, whatever ends it.

work=
attended=
servers=
leash=

# Ends a process of ours and waits until it has gone.
end_process() {
  if [ -n "$1" ] && kill "$1" 2>/dev/null; then
    wait "$1" 2>/dev/null || true
  fi
}

end_processes() {
  status=$?
  trap '' HUP INT TERM
  trap - EXIT
  end_process "$attended"
  for process in $servers; do
    end_process "$process"
  done
  if [ -n "$work" ]; then
    rm -rf "$work"
  fi
  exit "$status"
}

begin_processes() {
  trap end_processes EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if setpriv --pdeathsig KILL true 2>/dev/null; then
    leash="setpriv --pdeathsig KILL"
  fi
  work=$(mktemp -d "${TMPDIR:-/tmp}/autopilot-bench.XXXXXX")
}

# Runs a command. It stands in the background, so that a signal ends the script, and with it the
# command, at once and not when the command has ended.
attend() {
  leashed "$@" &
  attended=$!
  attended_status=0
  wait "$attended" || attended_status=$?
  attended=
  return "$attended_status"
}

# Becomes the command; where the machine can do it, one that ends with this script even when that is
# killed.
leashed() {
  # shellcheck disable=SC2086
  exec $leash "$@"
}
