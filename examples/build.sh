#!/usr/bin/env bash
# build.sh [FILE]: makes this example's component, which is named as the example unless a FILE is given. Each example has a link to this script.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$here")
exec plexspaces build "$here/$name.py" --output "${1:-$here/$name.wasm}"
