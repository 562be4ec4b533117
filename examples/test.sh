#!/usr/bin/env bash
# test.sh PORT [COMPONENT]: builds this example, unless the component is there already, deploys it to the node at 127.0.0.1:PORT and runs there what its
# README says. Fails where a command or a request fails. Each example has a link to this script.
set -euo pipefail
port=${1:?usage: $0 PORT [COMPONENT]}
component=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$here")
export PLEXSPACES_NODE=http://127.0.0.1:$port
work=$(mktemp -d)
end() {
  jobs -p | xargs -r kill 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

# A README begins with a node of its own; here there is one already.
plexspaces() {
  if [ "$1" != dev ]; then
    command plexspaces "$@"
    return
  fi
  if [ -z "$component" ]; then
    component=$work/$name.wasm
    "$here/build.sh" "$component"
  fi
  if [ -f "$here/app-config.toml" ]; then
    command plexspaces deploy --wasm "$component" --config "$here/app-config.toml"
  else
    command plexspaces deploy --wasm "$component" --app "$name"
  fi
}
curl() {
  command curl --fail-with-body "$@"
  echo
}

cd "$here/../../.."
awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$here/README.md" | sed "s/127\.0\.0\.1:8080/127.0.0.1:$port/g" > "$work/commands.sh"
[ -s "$work/commands.sh" ] || { echo "the README of $name has no commands" >&2; exit 1; }
# shellcheck source=/dev/null
source "$work/commands.sh"
