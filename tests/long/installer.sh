#!/usr/bin/env bash
# Proves the set-up where a person would run it: a fresh Debian, as an ordinary user with sudo, and where it must fail.
#   tests/long/installer.sh [bookworm|trixie]        as root, about five minutes, needs debootstrap, xvfb and xdotool
# Each Debian is a debootstrap root with its own mounts and processes; nothing is installed on this machine.
# The engine in it shares this machine's kernel and addresses, so no other engine with the default data root may run.
# shellcheck disable=SC2016 # the scripts in single quotes are for the shell inside
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=${1:-trixie}
work=$(mktemp -d "${TMPDIR:-/tmp}/portside-installer.XXXXXX")
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
failures=0

expect() { # WHAT, words that the output must hold; the output and the exit code are in $output and $code
  local what=$1 wanted=$2 code_wanted=$3
  if [ "$code" -eq "$code_wanted" ] && grep -qF -- "$wanted" <<<"$output"; then
    printf 'ok      %s\n' "$what"
  else
    failures=$((failures + 1))
    printf 'FAILED  %s: exit %s, wanted %s with "%s" in:\n%s\n' "$what" "$code" "$code_wanted" "$wanted" "$output"
  fi
}

inside() { # MODIFICATION, script: runs it in the root in namespaces that end with it
  unshare --mount --pid --fork --kill-child ${namespaces[@]+"${namespaces[@]}"} bash -euc '
    root=$1
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    eval "$2"
    exec chroot "$root" /bin/bash -c "$3"
  ' bash "$root" "$1" "$2" </dev/null 2>&1
}

as_anna='runuser -u anna -- env -i HOME=/home/anna USER=anna PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 /bin/bash -c'
run() { output=$(inside "$1" "$2"); code=$?; }
namespaces=()

# shellcheck source=tests/long/debian_root.sh
. tests/long/debian_root.sh
make_debian "$suite" "$root" "$work/debootstrap.log" sudo,ca-certificates,passwd || exit 1

run : "$as_anna 'cd ~/portside; installers/run.sh --headless'"
expect "a user whom sudo refuses is told what for" "sudo refused, and root is needed to install packages" 1

mv "$root/usr/bin/sudo" "$root/usr/bin/sudo.away"
run : "$as_anna 'cd ~/portside; installers/run.sh --headless'"
expect "a user without sudo is told how to get it" "sudo is not installed: as root run apt-get install sudo" 1
mv "$root/usr/bin/sudo.away" "$root/usr/bin/sudo"
echo 'anna ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/anna"

printf 'ID=fedora\nVERSION_ID=43\nPRETTY_NAME="Fedora Linux 43"\n' >"$work/os-release"
run "mount --bind '$work/os-release' \"\$root/etc/os-release\"" "$as_anna 'cd ~/portside; installers/run.sh --headless'"
expect "another distribution is refused by name" "not Fedora Linux 43" 1

grep -v overlay /proc/filesystems >"$work/filesystems"
run "mount --bind '$work/filesystems' \"\$root/proc/filesystems\"" "$as_anna 'cd ~/portside; installers/run.sh --headless'"
expect "a kernel without overlayfs is refused" "has no overlayfs" 1

namespaces=(--net)
run : "$as_anna 'cd ~/portside; installers/run.sh --headless'"
expect "without network the packages are missed in one sentence" "check the network" 1
namespaces=()

run 'mount -t tmpfs -o size=60m tmpfs "$root/usr/local/share"' "$as_anna 'cd ~/portside; sed s,check_room\\ /usr\\ ,check_room\\ /usr/local/share\\ , installers/run.sh >installers/full.sh; bash installers/full.sh --headless; rm installers/full.sh'"
expect "a full disk is told before anything is written" "60 MB are free" 0

both='cd ~/portside; installers/run.sh --setup-only && s=$(date +%s%N) && installers/run.sh --setup-only && e=$(( ($(date +%s%N) - s) / 1000000 )) && echo "second run: $e ms" && [ $e -lt 3000 ] && installers/run.sh --headless && stat -c "%U %a" /opt/portside/current/bin/portsided /run/portside/engine.sock && id -nG anna && find /opt/portside ! -user root | wc -l'
run : "$as_anna '$both'"
expect "the first and the second run work as a user with sudo" "Welcome to Portside" 0
printf '%s\n' "$output" | sed 's/^/        /'

# The window: on a screen of this machine, by a login that is older than the membership in the group.
display=:$((600 + RANDOM % 300))
Xvfb "$display" -screen 0 1280x800x24 -nolisten tcp >/dev/null 2>&1 &
screen=$!
sleep 1
inside 'mkdir -p "$root/tmp/.X11-unix"; mount --bind /tmp/.X11-unix "$root/tmp/.X11-unix"' \
  "$as_anna 'cd ~/portside; DISPLAY=$display exec timeout 30 installers/run.sh'" >"$work/window.log" &
window=$!
for _ in $(seq 50); do DISPLAY=$display xdotool search --onlyvisible --name Portside >/dev/null 2>&1 && break; sleep 0.5; done
sleep 3
output=$(DISPLAY=$display xdotool search --onlyvisible --name Portside getwindowname 2>&1; cat "$work/window.log")
code=0
[ -n "${PICTURE:-}" ] && DISPLAY=$display import -window root "$PICTURE"
expect "the window opens for a user whose login does not know of the group yet" "Portside" 0
wait "$window"
kill "$screen"

run : "$as_anna 'cd ~/portside; installers/run.sh --headless >/dev/null && sg portside -c \"portside run -d --name page portside/welcome serve\" && installers/uninstall.sh --remove-data && ls -d /opt/portside /var/lib/portside .venv'"
expect "everything is taken away again" "Portside and its data are removed" 2

[ "$failures" -eq 0 ] && printf 'the set-up on %s: everything passed\n' "$suite"
exit "$((failures > 0))"
