"""A terminal: ``screen`` and ``parser`` are a whole VT (xterm's sequences) without Qt, ``view`` draws one."""
