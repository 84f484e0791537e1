"""How the desktop looks: tokens, palette, style sheet, icons."""
