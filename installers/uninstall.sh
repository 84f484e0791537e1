#!/usr/bin/env bash
# Takes Portside off this machine again. Images, containers and volumes are only removed when told so.
#   installers/uninstall.sh                 asks about the data
#   installers/uninstall.sh --keep-data     leaves /var/lib/portside
#   installers/uninstall.sh --remove-data   removes it
# The packages of the distribution stay; .venv in this folder is removed.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
data=/var/lib/portside
socket=/run/portside/engine.sock
portside=/usr/local/bin/portside

say() { printf 'portside: %s\n' "$*"; }
fail() { printf 'portside: %s\n' "$*" >&2; exit 1; }

choice=ask
for argument in "$@"; do
  case $argument in
    --keep-data) choice=keep ;;
    --remove-data) choice=remove ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "there is no option $argument: --keep-data and --remove-data are" ;;
  esac
done
if [ "$choice" = ask ]; then
  [ -t 0 ] || fail "whether to remove images, containers and volumes in $data can't be asked without a terminal: add --keep-data or --remove-data"
  read -rp "Remove all images, containers and volumes in $data too? They can't be brought back. [y/N] " answer
  case $answer in y | Y | yes) choice=remove ;; *) choice=keep ;; esac
fi

if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "root is needed to remove the engine, and sudo is not installed: run this as root"
  say "root is needed to stop the engine and its containers and to remove what was installed"
  # The user's own part first: root has no business in the user's folder.
  rm -rf "$here/.venv"
  exec sudo -- "$here/installers/uninstall.sh" "--$choice-data"
fi

if [ -S "$socket" ] && [ -x "$portside" ]; then
  mapfile -t running < <("$portside" -H "unix://$socket" ps -q)
  if [ "${#running[@]}" -gt 0 ]; then
    say "stopping ${#running[@]} containers"
    "$portside" -H "unix://$socket" stop "${running[@]}" >/dev/null
  fi
fi
if [ -d /run/systemd/system ] && [ -e /etc/systemd/system/portside.service ]; then
  systemctl disable -q --now portside.service
  rm -f /etc/systemd/system/portside.service
  systemctl daemon-reload
fi
engine=$(cat /run/portside/portsided.pid 2>/dev/null)
if [ -n "$engine" ] && tr '\0' ' ' 2>/dev/null <"/proc/$engine/cmdline" | grep -q /portsided; then
  kill "$engine"
  for _ in $(seq 100); do [ -e "/proc/$engine/exe" ] || break; sleep 0.1; done
fi
# The helper that holds published ports outlives the engine; it runs out of the folder that goes now.
for process in /proc/[0-9]*; do
  if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q '^/opt/portside/'; then kill "${process#/proc/}" 2>/dev/null; fi
done
ip link delete portside0 2>/dev/null
nft delete table inet portside 2>/dev/null
find /sys/fs/cgroup -depth -type d -regex '/sys/fs/cgroup/\([^/]*/\)?portside\(/.*\)?' -exec rmdir {} \; 2>/dev/null
awk '{ print $5 }' /proc/self/mountinfo | grep -E '^(/run/portside|/var/lib/portside)(/|$)' | sort -r | while read -r point; do umount "$point"; done
rm -rf /opt/portside /run/portside /var/log/portside.log
rm -f /usr/local/bin/portside /usr/local/bin/portsided /usr/local/share/bash-completion/completions/portside
if [ "$choice" = remove ]; then
  rm -rf "$data" /etc/portside
  if getent group portside >/dev/null; then groupdel portside; fi
  say "Portside and its data are removed"
else
  say "Portside is removed; its images, containers and volumes stay in $data"
fi
if [ -O "$here/.venv" ]; then rm -rf "$here/.venv"; fi
