"""Images out of Dockerfiles."""
