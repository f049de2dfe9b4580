"""Files on this machine and in buckets, alike; nothing else in the project tells them apart."""
