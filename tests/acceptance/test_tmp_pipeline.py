import pytest
from platforms.sandbox import Sandbox
from scheduler import Media, accounts, schedule
from scheduler.api import database as transaction
from PIL import Image

@pytest.mark.parametrize("fault", [None, "reset_after", "reset_before", "server_error_after"])
def test_it(environment, pipeline, database, tmp_path, fault):
    with Sandbox() as box:
        settings = environment.change(SCHEDULERX_BLUESKY_API_URL=box.url, SCHEDULERX_MASTODON_API_URL=box.url, quarantine_seconds=1)
        pipeline.settings = settings
        box.account("mastodon", "acme", ignores_idempotency_key=True)
        for platform, cred in (("bluesky", {"identifier": "acme", "password": "sandbox-bluesky-acme"}), ("mastodon", {"server": box.url, "access_token": "sandbox-mastodon-acme"})):
            with transaction(settings) as conn:
                accounts.add(conn, settings, platform, "acme", cred)
            with transaction(settings) as conn:
                row = accounts.find(conn, f"{platform}:acme")
            identity = accounts.identify(settings, row)
            with transaction(settings) as conn:
                accounts.keep_identity(conn, row.id, identity)
        pic = tmp_path / "a.png"; Image.new("RGB", (300, 200), "teal").save(pic)
        schedule("Soup & bread https://example.com @acme.bsky.social", to=["bluesky:acme", "mastodon:acme"], at="now", media=[Media(pic, alt="teal")])
        schedule("Plain one", to=["bluesky:acme", "mastodon:acme"], at="now")
        if fault:
            box.set_faults([{"step": "*.publish", "kind": fault, "count": 4}])
        for number in database.one("SELECT array_agg(id ORDER BY id) FROM scheduled_posts"):
            found = pipeline.until(number, "published", "failed", "held", "missed")
            print(found.status, found.remote_id, found.remote_url, found.attempts, found.evidence, found.error_message)
            assert found.status == "published"
        assert box.summary()["doubled"] == []
        assert len(box.accepted()) == 4
        print(box.summary()["requests"])
