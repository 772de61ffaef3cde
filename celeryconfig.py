"""Celery's settings, each with its reason. A hint may be lost, repeated or late without harm: Postgres decides."""

from __future__ import annotations

import time

from celery.beat import BeatLazyFunc
from celery.schedules import crontab
from kombu import Queue

from scheduler.settings import current

_settings = current()

broker_url = _settings.broker()

# No results: every result is a row in Postgres. A result backend would be a second, weaker truth.
result_backend = None
task_ignore_result = True

# A message is acknowledged before it runs. Late acks on Redis are delivered again while the first copy still
# runs (after the visibility timeout), or loop for ever on a poison task; leases in Postgres do it right.
task_acks_late = False
task_reject_on_worker_lost = False

# Nobody may hold hints that others could work on: one at a time beyond what runs.
worker_prefetch_multiplier = 1

# A long publishing call must not be cancelled because the broker blinked.
worker_cancel_long_running_tasks_on_connection_loss = False

# JSON only: a hint is a pair of numbers, and pickle would run what it is sent.
task_serializer = "json"
accept_content = ["json"]

task_queues = [
    Queue("dispatch"),
    Queue("media"),
    Queue("upload"),
    Queue("publish"),
    Queue("followup"),
    # Files on this machine's disk can be uploaded from here only.
    Queue(f"upload.{_settings.spool_id}"),
]
task_default_queue = "dispatch"
task_create_missing_queues = True
task_routes = {
    "dispatch.*": {"queue": "dispatch"},
    "media.*": {"queue": "media"},
    "upload.*": {"queue": "upload"},
    "publish.*": {"queue": "publish"},
    "followup.*": {"queue": "followup"},
    # Alerts and webhooks: in the followup worker, but never on more than two of its threads (workers.notify).
    "notify.*": {"queue": "followup"},
    "alive.*": {"queue": "dispatch"},
}
imports = (
    "workers.alive",
    "workers.dispatch",
    "workers.media",
    "workers.upload",
    "workers.publish",
    "workers.followup",
    "workers.notify",
    "workers.readiness",
)

# A dead broker must cost seconds, not a hang: without a socket timeout a publish on a silently dead
# connection waits for ever.
broker_transport_options = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
    # No copy of each message in Redis until it is acknowledged: that is four commands more for each, to bring back
    # an hour later what a lease has healed after a minute. What a worker holds and has not begun it still gives back
    # as it stops.
    "ack_emulation": False,
}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_pool_limit = 4
task_publish_retry = True
task_publish_retry_policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.4}

# Prefork children (media) are replaced now and then: image libraries keep what they once needed.
worker_max_tasks_per_child = 200
worker_max_memory_per_child = 400_000  # KiB
task_time_limit = 600  # only prefork enforces it; thread workers have deadlines of their own
task_soft_time_limit = 540

# Soft shutdown bounds prefork only; thread workers finish what they do, within their call budget.
worker_soft_shutdown_timeout = 20.0
worker_hijack_root_logger = False

# For Flower, in batches (workers.consumer).
worker_send_task_events = True
worker_consumer = "workers.consumer:Consumer"
# Not for what happens all the time and means nothing to a person: it would push real work out of Flower's memory.
task_annotations = {name: {"send_events": False} for name in ("dispatch.second", "dispatch.pulse", "alive.pulse")}
task_send_sent_event = False  # an event for each hint sent would double the broker's work
event_queue_expires = 60.0

timezone = "UTC"
enable_utc = True

# crontab fires at :00 of each minute whenever beat was started; an interval's phase starts with beat and
# a restarting beat never fires a long one. No ``expires``: it is judged by the worker's clock.
beat_schedule = {
    "second": {"task": "dispatch.second", "schedule": 1.0},
    "minute": {"task": "dispatch.minute", "schedule": crontab()},
    # It carries beat's own clock, read as it is sent: an old pulse out of a backlog proves nothing.
    "pulse": {"task": "dispatch.pulse", "schedule": _settings.heartbeat_seconds, "args": (BeatLazyFunc(time.time),)},
    "prune": {"task": "dispatch.prune", "schedule": crontab(hour="3", minute="17")},
    "notify": {"task": "notify.pump", "schedule": 5.0},
    "alerts": {"task": "notify.watch", "schedule": crontab()},
    "readiness": {"task": "followup.ready", "schedule": crontab()},
    "notify-prune": {"task": "notify.prune", "schedule": crontab(hour="3", minute="27")},
}
beat_max_loop_interval = 1.0
# Celery's own stops for as long as the clock was set back.
beat_scheduler = "workers.beat:Scheduler"
