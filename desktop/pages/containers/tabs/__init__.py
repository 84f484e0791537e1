"""The tabs of one container: each shows one side of it and asks for nothing while it is out of sight."""
