"""Byte formats without I/O: attach frames, JSON streams, filters, references, log lines."""
