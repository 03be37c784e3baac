#!/bin/sh
# Builds what the comparison needs and runs it; arguments are those of bench.
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin
missing=
for p in nginx:nginx-light haproxy:haproxy wrk:wrk h2load:nghttp2-client; do
  command -v "${p%%:*}" >/dev/null || missing="$missing ${p##*:}"
done
if [ -n "$missing" ]; then
  echo "Without these the comparison would be partial: apt-get install$missing" >&2
  exit 1
fi
command -v "${CADDY:-caddy}" >/dev/null || echo "Caddy is not installed; \$CADDY may name it." >&2
bin=$PWD/../../bin
mkdir -p "$bin"
go build -o "$bin/bench" .
(cd h3load && go build -o "$bin/h3load" .)
GW=${GW:-$bin/vazel} H3LOAD=${H3LOAD:-$bin/h3load} exec "$bin/bench" "$@"
