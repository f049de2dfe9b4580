"""One module a command: what it does, from end to end."""
