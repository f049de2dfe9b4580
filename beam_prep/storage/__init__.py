"""Files on this machine and in buckets, alike; no other room of the project tells them apart."""
