"""The Celery application. ``celery -A workers.app worker -Q publish -P threads -c 64``."""

from __future__ import annotations

from celery import Celery

app = Celery("schedulerx")
app.config_from_object("celeryconfig")

# Signals are connected by importing them; tasks are imported by the worker itself (celeryconfig.imports).
from workers import signals  # noqa: E402, F401 - needs the app, and connects itself
