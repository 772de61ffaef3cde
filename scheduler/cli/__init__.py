"""The command ``schedulerx``."""
