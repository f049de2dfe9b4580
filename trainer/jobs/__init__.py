"""Runs the commands, with a module for each: checks first, then the other rooms in order."""
