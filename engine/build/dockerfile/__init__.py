"""The language of Dockerfiles, without I/O."""
