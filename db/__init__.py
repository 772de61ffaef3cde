"""Postgres: the truth and the schedule. Tables, the graph of states, guarded changes, claims."""
