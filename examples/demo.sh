#!/bin/sh
# Shows the command against the emulated service, over TLS on loopback: no account, no network.
# `make demo` runs it; LUA names the interpreter, whose LUA_PATH and LUA_CPATH lead to autopilot-sync.
set -eu
LUA=${LUA:-lua}
root=$(cd "$(dirname "$0")/.." && pwd)
emulator=
folder=$(mktemp -d)

clean_up() {
  trap '' HUP INT TERM
  if [ -n "$emulator" ]; then
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
  fi
  # The service removes its own folder, in which the CA file is, when it has ended: the file before the folder.
  tries=0
  while [ -n "${AUTOPILOT_CA_FILE:-}" ] && [ -e "${AUTOPILOT_CA_FILE%/*}" ] && [ $tries -lt 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
  done
  rm -rf "$folder"
}

fail() {
  echo "demo: $1" >&2
  exit 1
}

# Runs the command as it is shown; $1 is the exit code that it must have.
show() {
  expected=$1
  shift
  printf '\n$ autopilot-sync %s\n' "$*"
  code=0
  "$LUA" "$root/bin/autopilot-sync" "$@" 2>&1 || code=$?
  echo "exit $code"
  [ "$code" -eq "$expected" ] || fail "that should have been exit $expected"
}

unset AUTOPILOT_BASE_URL AUTOPILOT_CA_FILE AUTOPILOT_TOKEN
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

# The pipe stays open until the end, and with it whatever the service may still want to say.
mkfifo "$folder/said"
echo '$ autopilot-sync emulate --duration 0 &'
"$LUA" "$root/bin/autopilot-sync" emulate --duration 0 >"$folder/said" &
emulator=$!
exec 3<"$folder/said"
while [ -z "${AUTOPILOT_BASE_URL:-}" ] || [ -z "${AUTOPILOT_CA_FILE:-}" ] ||
  [ -z "${AUTOPILOT_TOKEN:-}" ] || [ -z "${demo_tenant:-}" ]; do
  read -r line <&3 || fail "the emulated service did not start"
  case $line in
    'export AUTOPILOT_'*) eval "$line" ;;
    'export AZURE_TENANT_ID='*)
      eval "$line"
      demo_tenant=$AZURE_TENANT_ID
      ;;
  esac
done
echo "AUTOPILOT_BASE_URL=$AUTOPILOT_BASE_URL"
echo "AUTOPILOT_CA_FILE=$AUTOPILOT_CA_FILE"
echo "AUTOPILOT_TOKEN=(a token for tenant $demo_tenant)"

show 0 sync
show 4 sync
show 0 status
