"""The one door to any engine: httpx transports, typed calls, streams."""
