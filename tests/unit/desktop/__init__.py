"""The desktop where it has no Qt."""
