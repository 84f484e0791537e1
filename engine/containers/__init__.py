"""A container's life: create, start, stop, remove; exec, logs, attach, health."""
