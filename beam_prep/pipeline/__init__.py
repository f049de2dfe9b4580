"""The Beam job: graph, runners, spool, resume."""
