#!/usr/bin/env bash
# Sets the tests up on Debian and runs them: all of them, or the parts named.
#   tests/run.sh                     everything
#   tests/run.sh unit                one part: lint, unit, contract, gui, integration or e2e
#   tests/run.sh setup               only what they need
# As root it installs the packages that are missing; as another user it says which are.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
export PYTHONDONTWRITEBYTECODE=1 QT_QPA_PLATFORM=${QT_QPA_PLATFORM:-offscreen} QT_API=pyside6

packages=(
  python3 python3-venv
  conmon crun runc nftables iptables iproute2 tini procps libnftables1
  docker.io docker-compose podman docker-registry skopeo busybox-static openssl shellcheck
  libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0
  libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xkb1 libxkbcommon-x11-0
  xvfb xauth xdotool x11-utils trayer fonts-dejavu-core git
)

say() { printf '%s\n' "tests: $*"; }

missing_packages() {
  local name
  for name in "${packages[@]}"; do
    dpkg-query -W -f='${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' || printf '%s\n' "$name"
  done
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    say "these packages are missing: ${missing[*]}. Install them: sudo apt-get install ${missing[*]}"
    return 1
  fi
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A service that starts by itself would be one more engine on this machine: no package may start any.
  local policy=/usr/sbin/policy-rc.d made=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  local log result
  log=$(mktemp)
  { apt-get -o DPkg::Lock::Timeout=300 update -qq &&
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1
  result=$?
  [ "$made" = yes ] && rm -f "$policy"
  [ "$result" -eq 0 ] || { tail -n 20 "$log"; say "apt-get failed"; }
  rm -f "$log"
  return "$result"
}

prepare_python() {
  local python=/usr/bin/python3 stamp="$root/.venv/.tests-stamp" wanted
  wanted=$(cat "$root/requirements.lock" "$root/pyproject.toml" | sha256sum)
  if [ -x "$root/.venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return 0
  fi
  say "setting up .venv"
  [ -x "$root/.venv/bin/python" ] || "$python" -m venv "$root/.venv" || return 1
  local pip=("$root/.venv/bin/pip" install -qq --disable-pip-version-check)
  if ! { "${pip[@]}" -r "$root/requirements.lock" && "${pip[@]}" --no-deps -e "$root"; }; then return 1; fi
  printf '%s' "$wanted" >"$stamp"
}

failed=()
run_part() { # name, command…
  local name=$1
  shift
  say "$name"
  "$@"
  local code=$?
  # 5: a part of pytest without tests is no failure, but is said.
  if [ "$code" -eq 5 ]; then say "$name: no tests"; elif [ "$code" -ne 0 ]; then failed+=("$name"); fi
}

bin=$root/.venv/bin
lint() {
  "$bin/ruff" check --output-format concise . && "$bin/ruff" format --check -q . && "$bin/mypy" engine desktop tests && "$bin/lint-imports" --no-cache &&
    shellcheck .ci/run installers/*.sh resources/*/*.sh tests/*.sh tests/*/*.sh
}
has_tests() { find "tests/$1" -name 'test_*.py' 2>/dev/null | grep -q .; }
pytest_part() {
  has_tests "$1" || return 5
  "$bin/python" -m pytest -q -p no:cacheprovider "tests/$1"
}
with_screen() { # a private X server for windows that need a real one
  local display=:$((90 + RANDOM % 400)) server code
  Xvfb "$display" -screen 0 1600x1000x24 -nolisten tcp >/dev/null 2>&1 &
  server=$!
  for _ in $(seq 50); do [ -S "/tmp/.X11-unix/X${display#:}" ] && break; sleep 0.1; done
  DISPLAY=$display "$@"
  code=$?
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  return "$code"
}

install_packages || exit 1
prepare_python || { say "the Python environment could not be set up"; exit 1; }

[ "${1:-}" = setup ] && exit 0
parts=("$@")
if [ "${#parts[@]}" -eq 0 ] || [ "${parts[0]}" = all ]; then parts=(lint unit contract gui integration e2e); fi
for part in "${parts[@]}"; do
  case $part in
    lint) run_part lint lint ;;
    unit | contract | integration) run_part "$part" pytest_part "$part" ;;
    gui) run_part gui pytest_part gui ;;
    e2e) run_part e2e with_screen pytest_part e2e ;;
    *) say "there is no part $part: lint, unit, contract, gui, integration, e2e"; exit 2 ;;
  esac
done

if [ "${#failed[@]}" -gt 0 ]; then
  say "failed: ${failed[*]}"
  exit 1
fi
say "everything passed"
