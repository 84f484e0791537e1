"""Plugins by Docker's protocol: found on the host, asked over HTTP. A manager's room: it knows no server."""
