# shellcheck shell=sh
# Read first by run.sh and fleet.sh, in the root folder: what every benchmark begins with.
#
# It starts the script anew with the modules of a Lua where none was chosen; says whether the run is a
# quick one; and lets neither proxies nor settings of the user take part.

if [ -z "${LUA:-}" ] || [ -z "${LUA_CPATH:-}" ]; then
  exec .ci/with-lua lua5.4 "spec/bench/${0##*/}" "$@"
fi

quick=${QUICK:-no}
case "${1:-}" in
  "") ;;
  --quick) quick=yes ;;
  *)
    echo "usage: spec/bench/${0##*/} [--quick]" >&2
    exit 2
    ;;
esac

for name in http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY \
  SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE CURL_HOME CURL_SSL_BACKEND OPENSSL_CONF SSLKEYLOGFILE \
  NODE_EXTRA_CA_CERTS NODE_OPTIONS REQUESTS_CA_BUNDLE PYTHONPATH PYTHONHOME MALLOC_ARENA_MAX \
  LD_PRELOAD; do
  unset "$name"
done
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

path=/beta/deviceManagement/windowsAutopilotSettings/sync

say() {
  echo "bench: $*" >&2
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# shellcheck source=spec/bench/processes.sh
. spec/bench/processes.sh
# shellcheck source=spec/bench/server.sh
. spec/bench/server.sh

# Ends the script when it cannot run here, and says what it needs.
check_needs() {
  missing=
  has "${CC:-cc}" || missing="$missing gcc libc6-dev"
  has openssl || missing="$missing openssl"
  has nginx || missing="$missing nginx"
  has "$LUA" || missing="$missing $LUA"
  if [ -n "$missing" ]; then
    say "missing here:"
    say "  apt-get install --no-install-recommends$missing"
    exit 1
  fi
  if ! "$LUA" -e 'require "autopilot.core"; require "cjson"'; then
    say "$LUA cannot load the library: run \`make LUA=$LUA\` first; lua-cjson is needed too"
    exit 1
  fi
}

# The private folder, with a certificate, a token, and a folder for programs; user_agent is the library's.
begin_benchmark() {
  check_needs
  begin_processes
  programs=$work/programs
  mkdir "$programs"
  user_agent=autopilot-sync/$("$LUA" -e 'io.write((require "autopilot.version"))')
  make_certificates
  make_token
}

# Builds a program of this folder: `build_program NAME [OBJECT...]`.
build_program() {
  program=$1
  shift
  # shellcheck disable=SC2046,SC2086
  ${CC:-cc} -std=c99 ${CFLAGS:--O2 -g} -Isrc $(pkg-config --cflags libcurl) \
    -o "$programs/$program" "spec/bench/$program.c" "$@" $(pkg-config --libs libcurl) -lm
}

lua_name() {
  "$LUA" -e 'io.write(_VERSION)'
}

# The load before anything of this ran.
load_now() {
  sed 's/ .*//' /proc/loadavg 2>/dev/null || echo unknown
}

# Runs a command, and sets `instructions` to those that it took, its start included.
count_instructions() {
  attend valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    --log-file="$work/valgrind.log" "$@" >"$work/output" || {
    cat "$work/valgrind.log" >&2
    return 1
  }
  instructions=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/valgrind.log")
}

# Sets `each` to the instructions of each call: those of $many calls less those of $few, which takes
# starting up off. The words count the instructions of as many calls as the word says that is added.
instructions_of_each() {
  "$@" "$few"
  start=$instructions
  "$@" "$many"
  each=$(((instructions - start) / (many - few)))
}

# Prints the tables and keeps them: `publish NAME`.
publish() {
  mkdir -p build
  cp "$work/tables.md" "build/$1.md"
  cat "build/$1.md"
}
