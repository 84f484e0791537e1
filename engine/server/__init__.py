"""HTTP: one file per tag of the API, hijacked streams, the one status map."""
