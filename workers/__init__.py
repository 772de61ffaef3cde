"""Celery: hints become work. Each task commits a state; leases heal what died."""
