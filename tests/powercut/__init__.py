"""A power cut, again and again: what the API acknowledged is still there. Run by hand, see ``__main__``."""
