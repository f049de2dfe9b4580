"""Works with submissions in a cluster: submits them, reads status and logs, waits for their end, deletes them."""
