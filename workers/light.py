"""The same application without its tasks and without a database: what beat and Flower need, in half the memory."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from scheduler import logging as logs
from scheduler.settings import current

app = Celery("schedulerx")
app.config_from_object("celeryconfig")
# Beat sends names; it never runs what they stand for.
app.conf.imports = ()


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def set_up_logging(**_: Any) -> None:
    """Being connected keeps Celery's hands off logging."""
    settings = current()
    logs.configure(form=settings.log_format, level=settings.log_level)
