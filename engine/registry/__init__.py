"""OCI distribution client, authentication."""
