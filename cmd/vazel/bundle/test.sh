#!/bin/sh
# Calls the gateway with your certificate: client.pem (with its intermediates) and client.key beside this script.
# 200 and the like: you are let in. 401 or 403 with a reason: see README.md. curl ends with an error: no connection, or not the right gateway.
cd "$(dirname "$0")" || exit 1
url=${1:-{{if .URLs}}{{index .URLs 0}}{{else}}https://name-of-the-service/{{end}}}
exec curl --silent --show-error --include{{if .ServerCA}} --cacert gateway-ca.pem{{end}} --cert client.pem --key client.key "$url"
