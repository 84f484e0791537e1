"""The portside command (a client)."""
