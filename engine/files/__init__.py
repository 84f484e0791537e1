"""Trees of files as tar streams, written and unpacked. Knows no container, image or client."""
