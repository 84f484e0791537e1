"""A Qt-free picture of one engine, fed by its events."""
