"""Decides which image goes to which split and shard, by pure functions of metadata."""
