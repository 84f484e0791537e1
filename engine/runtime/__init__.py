"""The kernel and its helpers: crun, conmon, mounts, cgroups, namespaces, seccomp."""
