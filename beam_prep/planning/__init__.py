"""Which image goes to which split and shard: pure functions of metadata."""
