"""Bodies of the Engine API as msgspec structs, shared by server and client.

Field names on the wire are Docker's (API 1.51, ``shared/reference/docker-engine-api-1.51.yaml``).
A field that Docker omits when it is empty is ``UNSET`` by default; one that Docker always sends has
Go's zero value, which is ``null`` for a list or map that was never made.
"""
