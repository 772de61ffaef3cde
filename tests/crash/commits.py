"""Every function whose transaction may be struck, before and after its commit: ``db.session`` has a place there.

``tests/crash/test_completeness.py`` reads the code: a function with a transaction that is in none of these lists
fails there.
"""

from __future__ import annotations

LOOKUP, POLLED, TWOSTEP, X = "lookup", "polled", "twostep", "x"

IN_THE_MATRIX: dict[str, tuple[str, str, str]] = {
    # The function: the kind of a post that passes there, what it needs, and where its worker is struck beforehand.
    **dict.fromkeys(
        (
            "scheduler.alerts.send_all", "scheduler.dispatch._pause", "scheduler.dispatch.visit",
            "scheduler.rescue._fetch_all_again", "scheduler.rescue._follow_all",
            "scheduler.rescue._make_all_elsewhere", "scheduler.rescue._media_work", "scheduler.rescue._miss_all",
            "scheduler.rescue._ready_all", "scheduler.rescue._reconnected_all", "scheduler.rescue._rescue_all",
            "scheduler.rescue._unpause_all", "workers.alive.hand_on", "workers.alive.mark", "workers.alive.report",
            "workers.followup.renew_task", "workers.notify.pump", "workers.notify.watch_task",
            "workers.outcomes.keep", "workers.publish._begin", "workers.publish._intend",
            "workers.readiness.look_ahead",
        ),
        (LOOKUP, "", ""),
    ),
    "workers.followup.poll": (POLLED, "", ""),
    "workers.publish.prepare": (TWOSTEP, "", ""),
    "workers.publish.saver.save.write": (TWOSTEP, "", ""),
    "workers.publish._intend.look": (LOOKUP, "", "intent.before_commit"),  # whose commit got no answer
    "workers.reconcile.load_as": (LOOKUP, "", "publish.answered"),
    "workers.reconcile.reconcile": (LOOKUP, "", "publish.answered"),
    "workers.outcomes.replay": (LOOKUP, "", ""),  # of what the cases around spool.written leave behind
    "workers.media.Progress.__call__": (X, "picture", ""),
    "workers.media._note_name": (X, "far picture", ""),
    "workers.media.fetch": (X, "far picture", ""),
    "workers.media.fetch.write": (X, "far picture", ""),
    "workers.media.render": (X, "picture", ""),
    "workers.upload.upload": (X, "picture", ""),
    "workers.upload.upload.write": (X, "picture", ""),
    "workers.upload._seen_from_outside": (X, "picture", ""),
    "workers.upload._make_again": (X, "picture", ""),  # of what the cases around render.after_commit leave behind
    "workers.tokens.refresh": (X, "new token", ""),
    "workers.tokens.refresh.write": (X, "new token", ""),
    "workers.tokens._ask": (X, "new token", ""),
}  # fmt: skip
"""What the workers and dispatch do by themselves."""

BY_PERSONS: dict[str, tuple[str, ...]] = {
    # The function: the command that leads there (``tests/crash/test_persons.py``), ID stands for its number.
    "scheduler.api.schedule": ("a script",),
    "scheduler.changes.cancel": ("posts", "cancel", "ID"),
    "scheduler.changes.reschedule": ("posts", "reschedule", "ID", "--at", "LATER"),
    "scheduler.changes.retry": ("posts", "retry", "ID"),
    "scheduler.edits.edit": ("posts", "edit", "ID", "--text", "edited"),
    "scheduler.cli.dead_letters.replay": ("dead-letters", "replay", "LETTER"),
    "scheduler.cli.dead_letters.mark_published": ("dead-letters", "mark-published", "LETTER"),
    "scheduler.cli.dead_letters.discard": ("dead-letters", "discard", "LETTER"),
    "scheduler.cli.system.pause": ("pause", "lookup:p"),
    "scheduler.cli.system.resume": ("resume", "lookup:p"),
    "scheduler.profiles.store": ("accounts", "add", "lookup", "p"),
}
"""What persons do. Each is one transaction, so a death leaves it done or not begun, and it may be said again."""

READS = frozenset({
    "scheduler.api.get", "scheduler.cli.accounts.connect",
    "scheduler.cli.accounts.list_", "scheduler.cli.alerts.list_", "scheduler.cli.audit.audit",
    "scheduler.cli.dead_letters.list_", "scheduler.cli.dead_letters.show", "scheduler.cli.demo._result",
    "scheduler.cli.demo._run.look", "scheduler.cli.media._rows", "scheduler.cli.posts._reference",
    "scheduler.cli.posts.list_", "scheduler.cli.posts.post", "scheduler.cli.posts.show", "scheduler.cli.report.report",
    "scheduler.cli.transfer.export", "scheduler.cli.webhooks.list_", "scheduler.connect._stored",
    "scheduler.connect.database_clock", "workers.__main__.warm", "workers.followup._under_way",
    "workers.publish._generation",
})  # fmt: skip
"""Nothing is written there."""

NOT_STRUCK: dict[str, str] = {
    "scheduler.api._connection": "is what others are given",
    "scheduler.api.database": "is what others are given",
    "scheduler.cli.accounts.check": "notes what the platform said of an account; the next check notes it again",
    "scheduler.cli.accounts.remove": "one transaction at a person's word",
    "scheduler.cli.accounts.rotate_key": "seals all credentials anew in one transaction",
    "scheduler.cli.alerts.watch": "as workers.notify.watch_task",
    "scheduler.cli.demo_posts.connect": "makes the demo's own accounts",
    "scheduler.cli.media.prune": "as scheduler.prune",
    "scheduler.cli.system.prune": "as scheduler.prune",
    "scheduler.cli.transfer.import_": "stores all of a file in one transaction, or nothing",
    "scheduler.cli.webhooks.add": "one transaction at a person's word",
    "scheduler.cli.webhooks.remove": "one transaction at a person's word",
    "scheduler.cli.webhooks.replay": "one transaction at a person's word",
    "scheduler.cli.webhooks.send_test": "one transaction at a person's word",
    "scheduler.connect.SignIn._store": "as scheduler.profiles.store",
    "scheduler.intake._store_local.stored": "of a file that no post has yet; the same file finds its row again",
    "scheduler.intake._store_local.touch": "of a file that no post has yet; the same file finds its row again",
    "scheduler.intake._store_remote": "of a file that no post has yet; the same file finds its row again",
    "scheduler.profiles.check": "notes what the platform said of an account; the next check notes it again",
    "scheduler.prune.run": "takes back nothing that a post needs; the next night goes on (test_media_races)",
    "scheduler.prune._mark": "takes back nothing that a post needs; the next night goes on (test_media_races)",
    "scheduler.prune._delete": "takes back nothing that a post needs; the next night goes on (test_media_races)",
    "scheduler.prune.orphans": "takes back nothing that a post needs; the next night goes on (test_media_races)",
    "scheduler.prune.delete_orphans": "takes back nothing that a post needs; the next night goes on (test_media_races)",
    "workers.followup._leave": "only where machines are set up differently; the next poll is due by its own time",
    "workers.media.again": "ends a try that failed; a dead one ends by its lease",
    "workers.media.fail.write": "ends the last try that failed; a dead one ends by its lease",
    "workers.notify.deliver": "a webhook may be called twice, and says so to who is called",
    "workers.notify.prune": "removes what is older than its retention",
    "workers.readiness._identify": "notes what the platform said of an account; the next look notes it again",
    "workers.readiness._look_at": "a look ahead; the next one sees the same",
    "workers.token_spool.replay": "compare-and-set by the version of the tokens; the file stays until it is done",
    "workers.work.Work._learn": "advice; to lose it costs a later question",
}
"""Commits that no case strikes, and why a death there can lose or double no post."""
