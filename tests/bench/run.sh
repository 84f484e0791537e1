#!/usr/bin/env bash
# Measures Portside against Debian's dockerd, side by side, and prints a table.
#   tests/bench/run.sh                  everything (about ten minutes)
#   tests/bench/run.sh --quick          without what takes minutes
#   tests/bench/run.sh run exec         the named ones; --list names them
# As root. Both engines live in network, mount and process namespaces of their own, which end with the run.
set -u
cd "$(dirname "$0")/../.." || exit 1
tests/run.sh setup || exit 1
export PYTHONDONTWRITEBYTECODE=1
exec unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc \
  tini -s -- .venv/bin/python -m tests.bench "$@"
