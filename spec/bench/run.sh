#!/bin/sh
# `make bench`: the figures of the README's performance section, measured in one run.
#
#   spec/bench/run.sh [--quick]      or QUICK=yes: fewer calls and rounds, for a look
#
# Needs what `make` builds, and of programs: a C compiler, openssl and nginx; without valgrind or curl
# their part is left out. Everything happens on loopback and in a private folder. Nothing is judged:
# a figure that misses its goal is printed like the others. Tables go to build/bench.md.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${LUA:-}" ] || [ -z "${LUA_CPATH:-}" ]; then
  exec .ci/with-lua lua5.4 spec/bench/run.sh "$@"
fi

quick=${QUICK:-no}
case "${1:-}" in
  "") ;;
  --quick) quick=yes ;;
  *)
    echo "usage: spec/bench/run.sh [--quick]" >&2
    exit 2
    ;;
esac

# Neither proxies nor settings of the user may take part.
for name in http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY \
  SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE CURL_HOME CURL_SSL_BACKEND OPENSSL_CONF SSLKEYLOGFILE \
  NODE_EXTRA_CA_CERTS NODE_OPTIONS REQUESTS_CA_BUNDLE PYTHONPATH PYTHONHOME MALLOC_ARENA_MAX \
  LD_PRELOAD; do
  unset "$name"
done
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

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
# shellcheck source=spec/bench/figures.sh
. spec/bench/figures.sh
# shellcheck source=spec/bench/neighbours.sh
. spec/bench/neighbours.sh
# shellcheck source=spec/bench/openresty.sh
. spec/bench/openresty.sh
# shellcheck source=spec/bench/tokens.sh
. spec/bench/tokens.sh

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

begin_processes
build_programs
make_certificates
make_token
start_server
check_same_request

tables=$work/tables.md
{
  machine_facts
  instructions_for_each_call
  one_call_in_a_process
  many_calls_in_a_process
  tokens_and_their_cache
  inside_nginx
  beside_others
} >"$tables"
mkdir -p build
cp "$tables" build/bench.md
cat build/bench.md
