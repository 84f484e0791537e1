#!/usr/bin/env bash
# The part of the set-up that needs root. installers/run.sh calls it through sudo; it is not for calling by hand.
#   as-root.sh packages NAME…                      install packages
#   as-root.sh engine STAMP WHEEL LOCK USER        install the engine under /opt/portside and start it
#   as-root.sh start                               start the installed engine
# Whatever root runs later is root's own: the engine is installed from a wheel into /opt/portside.
set -u
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 022

home=/opt/portside
unit=/etc/systemd/system/portside.service
here=$(cd "$(dirname "$0")/.." && pwd)

fail() { printf 'portside: %s\n' "$*" >&2; exit 1; }
has_systemd() { [ -d /run/systemd/system ]; }

install_packages() {
  local log
  log=$(mktemp)
  # Without fresh lists the names may point to versions that the archive no longer has.
  if ! { apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 update -qq &&
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install the packages (its words are above): check the network and /etc/apt/sources.list, then run this again"
  fi
  rm -f "$log"
}

running_engine() { # prints the process ID of the engine that this script started
  local pid
  pid=$(cat /run/portside/portsided.pid 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q /portsided && printf '%s' "$pid"
}

start_engine() {
  if has_systemd; then
    if systemctl enable -q portside.service && systemctl "$1" portside.service; then return; fi
    fail "the engine did not start: see journalctl -u portside, then run this again"
  fi
  local pid
  if pid=$(running_engine); then
    [ "$1" = start ] && return
    kill "$pid"
    for _ in $(seq 100); do [ -e "/proc/$pid/exe" ] || break; sleep 0.1; done
    [ -e "/proc/$pid/exe" ] && fail "the engine (process $pid) does not stop: end it, then run this again"
  fi
  mkdir -p /run/portside
  cd / || exit 1
  setsid "$home/current/bin/portsided" --pidfile /run/portside/portsided.pid </dev/null >>/var/log/portside.log 2>&1 &
}

install_engine() { # STAMP WHEEL LOCK USER
  local stamp=$1 wheel=$2 lock=$3 user=$4 folder="$home/${1:0:16}" names
  getent group portside >/dev/null || groupadd --system portside || fail "the group portside could not be made"
  if [ "$user" != root ] && ! id -nG "$user" | tr ' ' '\n' | grep -qx portside; then
    usermod -aG portside "$user" || fail "$user could not be added to the group portside"
  fi
  if [ "$(cat "$home/current/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$folder"
    mkdir -p "$folder" || fail "$folder could not be made"
    /usr/bin/python3 -m venv "$folder" || fail "the engine's Python environment could not be made in $folder: is there room on its disk?"
    local pip=("$folder/bin/pip" install -qq --disable-pip-version-check --no-cache-dir)
    # Only what the engine and the command line import; the window's packages are of no use to root.
    mapfile -t names < <(grep -iE '^(aiohttp|msgspec|isal|zstandard)==' "$lock")
    if ! { "${pip[@]}" -c "$lock" "${names[@]}" && "${pip[@]}" --no-deps "$wheel"; }; then
      fail "the engine's Python packages could not be installed: check the network and the room on the disk, then run this again"
    fi
    "$folder/bin/portsided" --validate >/dev/null || fail "the settings of the engine are wrong (see above): correct them, then run this again"
    printf '%s' "$stamp" >"$folder/stamp"
    ln -sfn "${folder##*/}" "$home/current.new" && mv -T "$home/current.new" "$home/current"
    find "$home" -mindepth 1 -maxdepth 1 -type d ! -path "$folder" -exec rm -rf {} +
  fi
  mkdir -p /usr/local/bin /usr/local/share/bash-completion/completions
  ln -sfn "$home/current/bin/portside" /usr/local/bin/portside
  ln -sfn "$home/current/bin/portsided" /usr/local/bin/portsided
  install -m 644 "$here/resources/completion/portside.bash" /usr/local/share/bash-completion/completions/portside
  if has_systemd && ! cmp -s "$here/resources/systemd/portside.service" "$unit"; then
    install -m 644 "$here/resources/systemd/portside.service" "$unit"
    systemctl daemon-reload
  fi
  start_engine restart
}

[ "$(id -u)" -eq 0 ] || fail "as-root.sh is run by installers/run.sh"
action=${1:-}
shift
case $action in
  packages) install_packages "$@" ;;
  engine) install_engine "$@" ;;
  start) start_engine start ;;
  *) fail "as-root.sh knows packages, engine and start" ;;
esac
