"""Shows how far a submission is, once or as a table that follows."""
