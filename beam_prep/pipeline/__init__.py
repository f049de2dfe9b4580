"""Runs the preparation as a Beam pipeline: the graph, its runners, the spool and the resumption of a job."""
