#!/usr/bin/env bash
# Sets Portside up and starts it: the engine if none answers, then the window.
#   installers/run.sh                set up, start the engine, open the window
#   installers/run.sh --headless     set up, start the engine, run the welcome container, say how to connect
#   installers/run.sh --setup-only   set up and start the engine, no more
# It can be run again at any time: what is there already is left as it is.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here" || exit 1
venv=$here/.venv
socket=/run/portside/engine.sock
lock=$here/requirements.lock
portside=/usr/local/bin/portside

say() { printf 'portside: %s\n' "$*"; }
fail() { printf 'portside: %s\n' "$*" >&2; exit 1; }

mode=window
for argument in "$@"; do
  case $argument in
    --setup-only) mode=setup ;;
    --headless) mode=headless ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "there is no option $argument: --setup-only and --headless are" ;;
  esac
done
if [ "$mode" = window ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  say "there is no display (DISPLAY and WAYLAND_DISPLAY are empty): going on without a window, as with --headless"
  mode=headless
fi

# --- what this machine is ---------------------------------------------------------------------------------

check_host() {
  local id='' version='' name=''
  [ "$(uname -s)" = Linux ] || fail "Portside's engine runs on Linux only; this is $(uname -s)"
  # shellcheck source=/dev/null
  [ -r /etc/os-release ] && { read -r id version name < <(. /etc/os-release && printf '%s %s %s\n' "${ID:-unknown}" "${VERSION_ID:-?}" "${PRETTY_NAME:-}"); }
  case $id-$version in
    debian-12) glib=libglib2.0-0 ;;
    debian-13) glib=libglib2.0-0t64 ;;
    ubuntu-24.04) glib=libglib2.0-0t64; say "Ubuntu 24.04 is prepared for but untested" ;;
    *) fail "this set-up knows Debian 12 and 13 and Ubuntu 24.04, not ${name:-$id $version}: run it on one of these, for instance in a virtual machine" ;;
  esac
  case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "Portside is built for x86_64 and aarch64, not $(uname -m): run it on such a machine" ;;
  esac
  grep -qw overlay /proc/filesystems || /sbin/modprobe -qn overlay 2>/dev/null ||
    fail "this kernel ($(uname -r)) has no overlayfs, which images are stacked with: boot a kernel with CONFIG_OVERLAY_FS, such as the distribution's own, then run this again"
}

check_room() { # FOLDER MEGABYTES WHAT: only asked before something large is written
  local folder=$1 free
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  free=$(df -Pm "$folder" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$2" ] || fail "$3 needs $2 MB in $folder, where $free MB are free: make room, then run this again"
}

# --- root -------------------------------------------------------------------------------------------------

as_root() { # WHAT FOR, then as-root.sh's arguments
  local purpose=$1
  shift
  if [ "$(id -u)" -eq 0 ]; then
    "$here/installers/as-root.sh" "$@"
    return
  fi
  command -v sudo >/dev/null || fail "root is needed to $purpose, and sudo is not installed: as root run apt-get install sudo and adduser $(id -un) sudo, log in again and run this again, or run this as root"
  say "root is needed to $purpose"
  sudo -n true 2>/dev/null || sudo -v || fail "sudo refused, and root is needed to $purpose: ask who administers this machine to run adduser $(id -un) sudo, log in again and run this again, or run this as root"
  sudo -- "$here/installers/as-root.sh" "$@"
}

quoted() { # one line that a POSIX shell reads as these words
  local word
  for word in "$@"; do printf "'%s' " "${word//\'/\'\\\'\'}"; done
}

as_member() { # runs a command with the rights of the group, which a login older than the set-up lacks
  if [ "$(id -u)" -eq 0 ] || id -nG | tr ' ' '\n' | grep -qx portside; then "$@"; else sg portside -c "$(quoted "$@")"; fi
}

# --- the steps --------------------------------------------------------------------------------------------

set_up_packages() {
  local wanted=(
    python3 python3-venv conmon crun runc nftables iptables iproute2 kmod tini procps libnftables1 ca-certificates
  ) missing
  if [ "$mode" != headless ]; then
    wanted+=(
      libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1 "$glib" fonts-dejavu-core
      libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xkb1
      libxkbcommon-x11-0
    )
  fi
  mapfile -t missing < <(
    comm -23 <(printf '%s\n' "${wanted[@]}" | sort) \
      <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' | sort -u)
  )
  [ "${#missing[@]}" -eq 0 ] && return
  check_room /usr 600 "installing packages"
  as_root "install packages: ${missing[*]}" packages "${missing[@]}" || exit 1
}

set_up_programs() { # .venv in this folder, for the one who runs this: the window and the command line
  local extras='' stamp
  [ "$mode" != headless ] && extras='[desktop]'
  stamp=$(cat "$lock" pyproject.toml | sha256sum | cut -c1-16)$extras
  # What was set up with the window serves without it too.
  case $(cat "$venv/.programs-stamp" 2>/dev/null) in "$stamp" | "${stamp}[desktop]") "$venv/bin/python" -c '' 2>/dev/null && return ;; esac
  if [ ! -w "$here" ] || { [ -e "$venv" ] && [ ! -w "$venv" ]; }; then
    fail "$(id -un) may not write $venv: run this as $(stat -c %U "$here"), or in a copy of your own"
  fi
  check_room "$here" 800 "setting up Portside's programs"
  say "setting up the programs in .venv"
  "$venv/bin/python" -c '' 2>/dev/null || { rm -rf "$venv" && /usr/bin/python3 -m venv "$venv"; } ||
    fail "the Python environment $venv could not be made: the reason is above"
  "$venv/bin/pip" install -qq --disable-pip-version-check -c "$lock" -e ".$extras" ||
    fail "Python packages could not be downloaded or installed (the reason is above): check the network and the room on the disk, then run this again"
  printf '%s' "$stamp" >"$venv/.programs-stamp"
}

set_up_engine() {
  local stamp work
  stamp=$(find engine resources/completion resources/systemd installers/as-root.sh "$lock" pyproject.toml -type f ! -name '*.pyc' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | cat - <(/usr/bin/python3 -V) | sha256sum | cut -d' ' -f1)
  if [ "$(cat /opt/portside/current/stamp 2>/dev/null)" = "$stamp" ] && is_member_listed; then
    answers || { as_root "start the engine" start || exit 1; }
  else
    check_room /opt 200 "installing the engine"
    check_room /var/lib 500 "the engine's data"
    say "preparing the engine"
    work=$(mktemp -d)
    build_wheel "$work" || { rm -rf "$work"; fail "the engine's package could not be built (the reason is above): check the network, then run this again"; }
    as_root "install the engine in /opt/portside, its group portside with $(id -un) in it, and start it" \
      engine "$stamp" "$work"/*.whl "$lock" "$(id -un)"
    local code=$?
    rm -rf "$work"
    [ "$code" -eq 0 ] || exit "$code"
  fi
  for _ in $(seq 100); do
    answers && return
    sleep 0.1
  done
  if [ -d /run/systemd/system ]; then fail "the engine does not answer at $socket: see journalctl -u portside, then run this again"; fi
  fail "the engine does not answer at $socket: $(as_root_tail), then run this again"
}

as_root_tail() { if [ -r /var/log/portside.log ]; then tail -n 1 /var/log/portside.log; else printf 'see /var/log/portside.log'; fi; }

is_member_listed() { [ "$(id -u)" -eq 0 ] || id -nG "$(id -un)" | tr ' ' '\n' | grep -qx portside; }

build_wheel() { # from a copy, so that no build folders are left in the checkout
  mkdir "$1/source" && cp -r engine desktop pyproject.toml README.md "$1/source/" &&
    "$venv/bin/pip" wheel -qq --disable-pip-version-check --no-deps -w "$1" "$1/source"
}

answers() {
  [ -S "$socket" ] || return 1
  as_member "$venv/bin/python" -c '
import socket, sys
probe = socket.socket(socket.AF_UNIX)
probe.settimeout(5)
try:
    probe.connect(sys.argv[1])
    probe.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    sys.exit(not probe.recv(64).startswith(b"HTTP/1.1 200"))
except OSError:
    sys.exit(1)
' "$socket"
}

set_up_welcome() {
  local revision work busybox=''
  revision=$(cat resources/welcome/* 2>/dev/null | sha256sum | cut -c1-12)
  [ "$(as_member "$portside" -H "unix://$socket" image inspect \
    --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' portside/welcome 2>/dev/null)" = "$revision" ] && return
  say "loading the welcome image"
  work=$(mktemp -d)
  if dpkg-query -W busybox-static >/dev/null 2>&1; then
    busybox=$(command -v busybox)
  elif (cd "$work" && apt-get download -qq busybox-static && dpkg-deb -x busybox-static_*.deb root) >/dev/null 2>&1; then
    # Only unpacked: installing it would replace another busybox of the user's.
    busybox=$(find "$work/root" -type f -path '*/bin/busybox')
  fi
  [ -n "$busybox" ] || { rm -rf "$work"; fail "busybox-static for the welcome image could not be downloaded: check the network, then run this again"; }
  /usr/bin/python3 resources/welcome/build.py "$busybox" "$revision" "$work/welcome.tar" &&
    as_member "$portside" -H "unix://$socket" load -q -i "$work/welcome.tar" >/dev/null
  local code=$?
  rm -rf "$work"
  [ "$code" -eq 0 ] || fail "the welcome image could not be loaded: the reason is above; run this again"
}

how_to_connect() {
  cat <<TEXT

The engine answers at unix://$socket, for root and the group portside.
  portside ps                                       Portside's command line
  docker -H unix://$socket ps   Docker's
  export DOCKER_HOST=unix://$socket      for everything that speaks Docker's API
TEXT
  if [ "$(id -u)" -ne 0 ] && ! id -nG | tr ' ' '\n' | grep -qx portside; then
    say "this login does not know yet that you are in the group: log in again, or start a shell with: sg portside"
  fi
}

glib=''
check_host
set_up_packages
set_up_programs
set_up_engine
set_up_welcome
case $mode in
  setup) say "everything is set up" ;;
  headless)
    as_member "$portside" -H "unix://$socket" run --rm portside/welcome || fail "the welcome container did not run: the reason is above"
    how_to_connect
    ;;
  window)
    if [ "$(id -u)" -eq 0 ] || id -nG | tr ' ' '\n' | grep -qx portside; then exec "$venv/bin/portside-desktop"; fi
    exec sg portside -c "exec $(quoted "$venv/bin/portside-desktop")"
    ;;
esac
