"""``schedulerx health`` and ``schedulerx monitor``."""

from __future__ import annotations

from typing import Annotated

import typer

from scheduler.cli.output import FAILED, emit, marked, told
from scheduler.errors import NotConfigured, Refused
from scheduler.health import QUEUES, Check, State, examine, examine_worker, overall
from scheduler.settings import from_environment

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

COLOURS = {State.OK: "green", State.DEGRADED: "yellow", State.DOWN: "red"}


def health(
    as_json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Degraded is a failure, too.")] = False,
    worker: Annotated[
        str | None, typer.Option(metavar="QUEUE", help="Only this host's own worker of that queue, or beat.")
    ] = None,
) -> None:
    """Say how well it is. Exit 0: healthy or degraded, 1: down. Usable as a container's or a unit's health check.

    Example: schedulerx health --strict
    """
    if worker is not None and worker not in {"beat", *QUEUES}:
        with told(as_json=as_json):
            raise Refused(f"No such queue: {worker}. There are beat, {', '.join(QUEUES)}")
    try:
        settings = from_environment()
        found = examine(settings) if worker is None else examine_worker(settings, worker)
    except NotConfigured as error:
        found = [Check("settings", State.DOWN, str(error))]
    state = overall(found)
    if as_json:
        emit(
            {
                "state": state,
                "checks": [{"name": one.name, "state": one.state, "message": one.message} for one in found],
            }
        )
    else:
        for one in found:
            marked(f"{one.state:>8}", COLOURS[one.state], one.name, one.message)
        marked(f"{state:>8}", COLOURS[state], "overall", "")
    if state is State.DOWN or (strict and state is State.DEGRADED):
        raise typer.Exit(FAILED)


def monitor(
    host: Annotated[str | None, typer.Option(help="Address to listen on; SCHEDULERX_MONITOR_HOST otherwise.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; SCHEDULERX_MONITOR_PORT otherwise.")] = None,
) -> None:
    """Serve /live, /ready and /metrics (Prometheus) until stopped. Listens on this machine only, unless told otherwise.

    Example: schedulerx monitor --port 9808
    """
    from scheduler.monitor import serve

    with told():
        settings = from_environment()
        serve(settings, host or settings.monitor_host, settings.monitor_port if port is None else port)
