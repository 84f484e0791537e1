"""What the process at 127.0.0.11 is made of. Imported by it alone: only C modules, to stay small."""
