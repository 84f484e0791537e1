# shellcheck shell=bash
# A fresh Debian in a folder, with an ordinary user anna and Portside's checkout in her home. Sourced by the tests beside it.

make_debian() { # SUITE, folder, log, packages separated by commas
  local suite=$1 root=$2 log=$3 packages=$4 file
  debootstrap --variant=minbase --include="$packages" "$suite" "$root" >"$log" 2>&1 || { tail "$log"; return 1; }
  # Root's own copies of what this machine needs to reach packages go along; a fresh machine has its own.
  cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null
  for file in /etc/pip.conf /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ -e "$file" ] && cp -L "$file" "$root$file"
  done
  chroot "$root" useradd -m -s /bin/bash anna
  mkdir "$root/home/anna/portside"
  git archive HEAD | tar x -C "$root/home/anna/portside"
  chroot "$root" chown -R anna:anna /home/anna
}
