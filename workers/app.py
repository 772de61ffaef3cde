"""The Celery application. ``celery -A workers.app worker -Q publish -P threads -c 64``."""

from __future__ import annotations

import warnings

from celery import Celery
from celery.platforms import SecurityWarning

# Celery warns of root because pickled messages could run code. Ours are JSON only (celeryconfig).
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("schedulerx")
app.config_from_object("celeryconfig")

# Signals are connected by importing them; tasks are imported by the worker itself (celeryconfig.imports).
from workers import signals  # noqa: E402, F401 - needs the app, and connects itself
