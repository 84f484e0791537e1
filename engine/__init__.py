"""Portside's engine and its clients: a container engine compatible with the Docker Engine API."""

__version__ = "0.1.0"
