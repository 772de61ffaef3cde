"""The bench: what SchedulerX costs and how fast it is, measured on real services. ``python -m tests.bench``."""
