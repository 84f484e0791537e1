#!/usr/bin/env bash
# Proves the service where systemd is: set up, containers over its end, kill -9, restart and stop of the engine.
#   tests/long/systemd.sh [bookworm|trixie]          as root, about three minutes, needs debootstrap
# systemd is process 1 of a debootstrap root in namespaces of its own; it shares this machine's kernel and
# addresses, so no other engine with the default data root may run. Hosts with cgroup v1 or hybrid cgroups only.
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=${1:-bookworm}
work=$(mktemp -d "${TMPDIR:-/tmp}/portside-systemd.XXXXXX")
root=$work/root
group=$(basename "$work")
trap finish EXIT

[ -d /sys/fs/cgroup/systemd ] || { echo 'systemd.sh: this host has no cgroup v1 hierarchy for systemd'; exit 1; }

finish() {
  [ -n "${init:-}" ] && kill -KILL "$init" 2>/dev/null && wait "$init" 2>/dev/null
  local folder
  for folder in /sys/fs/cgroup/*/"$group"; do find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null; done
  rm -rf --one-file-system "$work"
}

# shellcheck source=tests/long/debian_root.sh
. tests/long/debian_root.sh
make_debian "$suite" "$root" "$work/debootstrap.log" sudo,ca-certificates,passwd,systemd,systemd-sysv,dbus,procps || exit 1
echo 'anna ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/anna"
# What would change this machine's kernel or wait for its hardware.
for unit in systemd-sysctl systemd-modules-load systemd-udevd systemd-binfmt systemd-timesyncd console-getty; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done

boot() {
  local hierarchy
  for hierarchy in /sys/fs/cgroup/*/; do
    mkdir -p "$hierarchy$group"
    if [ -e "${hierarchy}cpuset.cpus" ]; then
      cat "${hierarchy}cpuset.cpus" >"$hierarchy$group/cpuset.cpus"
      cat "${hierarchy}cpuset.mems" >"$hierarchy$group/cpuset.mems"
    fi
    echo "$BASHPID" >"$hierarchy$group/cgroup.procs"
  done
  # shellcheck disable=SC2016 # for the shell inside
  exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child bash -euc '
    root=$1
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    for name in $(ls /sys/fs/cgroup); do
      mkdir "$root/sys/fs/cgroup/$name"
      case $name in
        unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/$name" ;;
        systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/$name" ;;
        *) mount -t cgroup -o "$name" cgroup "$root/sys/fs/cgroup/$name" ;;
      esac
    done
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    hostname portside-systemd
    cd "$root"
    exec env -i container=portside PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd --show-status=no
  ' bash "$root"
}

boot >"$work/boot.log" 2>&1 </dev/null &
init=$!
inside() { nsenter -t "$first" -a -r -w "$@" </dev/null; }
for _ in $(seq 100); do
  first=$(pgrep -P "$init" | head -n 1)
  [ -n "$first" ] && [ "$(inside systemctl is-system-running 2>/dev/null)" = running ] && break
  sleep 0.3
done
[ "$(inside systemctl is-system-running)" = running ] || { cat "$work/boot.log"; inside systemctl --failed; exit 1; }

cat >"$root/root/check.sh" <<'CHECK'
set -e
export PATH=/usr/local/bin:$PATH
step() { printf '%s\n' "ok      $*"; }
page() { python3 -c 'import urllib.request as u; assert u.urlopen("http://127.0.0.1:18099/", timeout=5).status == 200'; }
answers() { for _ in $(seq 50); do portside ps -q >/dev/null 2>&1 && return; sleep 0.2; done; echo "the engine does not answer"; return 1; }
systemctl is-enabled --quiet portside && systemctl is-active --quiet portside && step "the service is enabled and runs"
portside run -d --name web -p 18099:80 portside/welcome serve >/dev/null
for _ in $(seq 50); do page 2>/dev/null && break; sleep 0.1; done
page && step "a container serves a page"
systemctl kill -s KILL --kill-whom=main portside
page && step "it serves while the engine is killed"
answers && page
[ "$(systemctl show -P NRestarts portside)" = 1 ] && step "systemd has started the engine again"
systemctl restart portside && answers && page && step "it serves over a restart"
systemctl stop portside && page && step "and while the engine is stopped"
systemctl start portside && systemctl reload portside && answers
[ "$(portside exec web echo there)" = there ] && step "and the next engine reaches it"
portside rm -f web >/dev/null
! journalctl -u portside --no-pager | grep -E 'portsided\[[0-9]+\]: (WARNING|ERROR|CRITICAL)' && step "no warning was logged"
CHECK
as_anna() {
  inside runuser -u anna -- env -i HOME=/home/anna USER=anna PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 bash -c "$1" 2>&1
}
give_up() { cat "$1"; inside journalctl -u portside --no-pager | tail -n 30; exit 1; }
as_anna 'cd ~/portside && installers/run.sh --headless' >"$work/setup.log" || give_up "$work/setup.log"
grep -q 'Welcome to Portside' "$work/setup.log" || give_up "$work/setup.log"
printf 'ok      the set-up as a user with sudo\n'
inside bash /root/check.sh || give_up /dev/null
as_anna 'cd ~/portside && installers/uninstall.sh --remove-data' >"$work/uninstall.log"
if inside systemctl cat portside >/dev/null 2>&1 || [ -e "$root/opt/portside" ]; then cat "$work/uninstall.log"; exit 1; fi
printf 'ok      everything is taken away again\nthe service under systemd on %s: everything passed\n' "$suite"
