"""X's calls: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests
from sandbox_client import VIDEO, Client, animation, picture

from platforms.sandbox import Sandbox

Clients = Callable[[str], Client]


def test_a_post_is_stored_with_wrapped_links_and_escaped_text(box: Sandbox, x: Client) -> None:
    made = x("POST", "/2/tweets", json={"text": "<b> & https://acme.com/spring?a=1."})
    assert made.status_code == 201
    post_id = made.json()["data"]["id"]
    user = x("GET", "/2/users/me").json()["data"]
    query = {"tweet.fields": "created_at,entities,conversation_id", "max_results": "5"}
    shown = x("GET", f"/2/users/{user['id']}/tweets", params=query).json()["data"][0]
    assert shown["id"] == post_id == shown["conversation_id"]
    url = shown["entities"]["urls"][0]
    assert url["expanded_url"] == "https://acme.com/spring?a=1"
    assert shown["text"] == f"&lt;b&gt; &amp; {url['url']}."
    assert shown["text"][url["start"] : url["end"]] == url["url"]
    assert box.accepted()[0]["content"]["text"] == "<b> & https://acme.com/spring?a=1."


def test_pictures_are_decoded_counted_and_shown_by_their_media_key(box: Sandbox, x: Client) -> None:
    data = picture()
    media_id = x.upload(data)
    alt = {"id": media_id, "metadata": {"alt_text": {"text": "all teal"}}}
    assert x("POST", "/2/media/metadata", json=alt).status_code == 200
    made = x("POST", "/2/tweets", json={"text": "one", "media": {"media_ids": [media_id]}})
    assert made.status_code == 201
    found = x(
        "GET",
        f"/2/tweets/{made.json()['data']['id']}",
        params={"expansions": "attachments.media_keys", "media.fields": "alt_text,width,height,url"},
    ).json()
    assert found["data"]["attachments"]["media_keys"] == [f"3_{media_id}"]
    shown = found["includes"]["media"][0]
    assert (shown["alt_text"], shown["width"], shown["height"]) == ("all teal", 60, 90)
    assert requests.get(shown["url"], timeout=10).content == data
    assert box.accepted()[0]["content"]["pictures"][0]["alt"] == "all teal"


def test_several_segments_in_any_order_and_one_sent_again(x: Client) -> None:
    data = picture(size=(400, 300), kind="BMP")
    pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
    body = {"media_type": "image/bmp", "total_bytes": len(data), "media_category": "tweet_image"}
    media_id = x("POST", "/2/media/upload/initialize", json=body).json()["data"]["id"]
    path = f"/2/media/upload/{media_id}"
    for index in [*reversed(range(len(pieces))), 0]:
        part = {"media": base64.b64encode(pieces[index]).decode(), "segment_index": index}
        assert x("POST", f"{path}/append", json=part).status_code == 200
    assert x("POST", f"{path}/finalize").json()["data"]["size"] == len(data)


def test_an_upload_that_does_not_add_up_is_not_finalized(x: Client) -> None:
    data = picture()
    body = {"media_type": "image/png", "total_bytes": len(data) + 1, "media_category": "tweet_image"}
    media_id = x("POST", "/2/media/upload/initialize", json=body).json()["data"]["id"]
    path = f"/2/media/upload/{media_id}"
    part = {"media": base64.b64encode(data).decode(), "segment_index": 0}
    assert x("POST", f"{path}/append", json=part).status_code == 200
    assert x("POST", f"{path}/finalize").status_code == 400
    assert x("GET", "/2/media/upload", params={"command": "STATUS", "media_id": media_id}).status_code == 400
    assert x("POST", "/2/tweets", json={"text": "a", "media": {"media_ids": [media_id]}}).status_code == 400


def test_too_large_a_segment_gets_an_empty_413(x: Client) -> None:
    body = {"media_type": "image/png", "total_bytes": 3_000_000, "media_category": "tweet_image"}
    media_id = x("POST", "/2/media/upload/initialize", json=body).json()["data"]["id"]
    part = {"media": ("blob", bytes(1024 * 1024 + 1), "application/octet-stream")}
    path = f"/2/media/upload/{media_id}/append"
    answer = x("POST", path, data={"segment_index": "0"}, files=part)
    assert (answer.status_code, answer.content) == (413, b"")
    fits = {"media": ("blob", bytes(1024 * 1024), "application/octet-stream")}
    assert x("POST", path, data={"segment_index": "0"}, files=fits).status_code == 200


def test_what_is_not_a_picture_is_refused(x: Client) -> None:
    data = b"this is text, whatever its name says"
    files = {"media": ("a.png", data, "image/png")}
    answer = x("POST", "/2/media/upload", data={"media_category": "tweet_image"}, files=files)
    assert answer.status_code == 400
    cut = picture(size=(500, 500), kind="JPEG")[:900]
    files = {"media": ("a.jpg", cut, "image/jpeg")}
    assert x("POST", "/2/media/upload", data={"media_category": "tweet_image"}, files=files).status_code == 400


def test_a_gif_and_a_video_are_processed_before_they_can_be_posted(box: Sandbox, x: Client) -> None:
    box.configure(processing_s=30.0)
    gif = x.upload(animation(), "image/gif", "tweet_gif")
    video = x.upload(VIDEO, "video/mp4", "tweet_video")
    for media_id in (gif, video):
        state = x("GET", "/2/media/upload", params={"command": "STATUS", "media_id": media_id})
        assert state.json()["data"]["processing_info"]["state"] == "pending"
        assert x("POST", "/2/tweets", json={"media": {"media_ids": [media_id]}}).status_code == 400
    box.configure(processing_s=0.0)
    gif, still = x.upload(animation(), "image/gif", "tweet_gif"), x.upload(picture())
    state = x("GET", "/2/media/upload", params={"command": "STATUS", "media_id": gif})
    assert state.json()["data"]["processing_info"]["state"] == "succeeded"
    assert x("POST", "/2/tweets", json={"media": {"media_ids": [gif, still]}}).status_code == 400
    assert x("POST", "/2/tweets", json={"media": {"media_ids": [gif]}}).status_code == 201


def test_media_of_others_expired_or_twice_cannot_be_attached(box: Sandbox, x: Client, client: Clients) -> None:
    media_id = x.upload(picture())
    other = client("sandbox-x-other")
    assert other("POST", "/2/tweets", json={"media": {"media_ids": [media_id]}}).status_code == 400
    assert other("POST", f"/2/media/upload/{media_id}/finalize").status_code == 403
    answer = x("POST", "/2/tweets", json={"media": {"media_ids": [media_id, media_id]}})
    assert answer.json()["errors"][0]["message"] == "Your media IDs are invalid."
    box.configure(media_ttl_s=0.0)
    late = {"media_type": "image/png", "total_bytes": 5, "media_category": "tweet_image"}
    gone = x("POST", "/2/media/upload/initialize", json=late).json()["data"]["id"]
    assert x("POST", "/2/tweets", json={"media": {"media_ids": [gone]}}).status_code == 400
    assert box.accepted() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"text": "  "}, 400),
        ({"text": "a", "colour": "red"}, 400),
        ({"text": 1}, 400),
        ({"text": "a", "media": {"media_ids": "1"}}, 400),
        ({"text": "a", "media": {"media_ids": []}}, 400),
        ({"text": "a", "media": {"media_ids": ["1", "2", "3", "4", "5"]}}, 400),
        ({"text": "a", "reply": {}}, 400),
        ({"text": "a", "reply": {"in_reply_to_tweet_id": "12"}}, 404),
        ({"text": "a", "quote_tweet_id": "12"}, 403),
        ({"poll": {"options": ["one", "two"], "duration_minutes": 60}}, 400),
        ({"text": "$AAA and $BBB.A"}, 403),
        ({"text": "$AAA for $5, not US$B"}, 201),
        ({"text": "a\ufeffb"}, 403),
        ({"text": "a\ufffe"}, 403),
        ({"text": "x" * 257 + " foo.de"}, 403),
        ({"text": "x" * 256 + " foo.de"}, 201),
        ({"text": "a", "poll": {"options": ["one"], "duration_minutes": 60}}, 400),
        ({"text": "a", "reply_settings": "everyone"}, 400),
        ({"text": "x" * 281}, 403),
        ({"text": "字" * 141}, 403),
        ({"text": "x" * 280}, 201),
        ({"text": "字" * 140}, 201),
        ({"text": "https://acme.com/" + "y" * 400}, 201),
        ({"text": "a", "poll": {"options": ["one", "two"], "duration_minutes": 60}}, 201),
        ({"text": "a", "reply_settings": "following", "made_with_ai": True}, 201),
    ],
)
def test_create_checks_its_body(box: Sandbox, x: Client, body: dict[str, object], status: int) -> None:
    answer = x("POST", "/2/tweets", json=body)
    assert answer.status_code == status, answer.text
    assert len(box.accepted()) == (status == 201)
    if status != 201:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


def test_create_wants_json_and_says_so(x: Client) -> None:
    assert x("POST", "/2/tweets", data={"text": "a"}).status_code == 415
    headers = {"Content-Type": "application/json"}
    assert x("POST", "/2/tweets", data=b"{", headers=headers).status_code == 400


def test_a_premium_account_may_write_more(box: Sandbox, client: Clients) -> None:
    made = box.account("x", "long", premium=True)
    assert client(made["token"])("POST", "/2/tweets", json={"text": "x" * 5000}).status_code == 201


def test_a_thread_hangs_together_and_a_deleted_post_is_gone_but_counted(box: Sandbox, x: Client) -> None:
    first = x("POST", "/2/tweets", json={"text": "1"}).json()["data"]["id"]
    reply = {"text": "2", "reply": {"in_reply_to_tweet_id": first}}
    second = x("POST", "/2/tweets", json=reply).json()["data"]["id"]
    query = {"tweet.fields": "conversation_id,referenced_tweets"}
    shown = x("GET", f"/2/tweets/{second}", params=query).json()["data"]
    assert shown["conversation_id"] == first
    assert shown["referenced_tweets"] == [{"type": "replied_to", "id": first}]
    assert x("DELETE", f"/2/tweets/{second}").json() == {"data": {"deleted": True}}
    assert x("DELETE", f"/2/tweets/{second}").status_code == 404
    assert "data" not in x("GET", f"/2/tweets/{second}").json()
    several = x("GET", "/2/tweets", params={"ids": f"{first},{second}"}).json()
    assert [row["id"] for row in several["data"]] == [first]
    assert several["errors"][0]["resource_id"] == second
    assert [row["deleted_at"] is None for row in box.accepted()] == [True, False]


def test_others_cannot_delete(x: Client, client: Clients) -> None:
    made = x("POST", "/2/tweets", json={"text": "mine"}).json()["data"]["id"]
    assert client("sandbox-x-other")("DELETE", f"/2/tweets/{made}").status_code == 403


def test_the_timeline_pages_and_filters(x: Client) -> None:
    user = x("GET", "/2/users/me").json()["data"]["id"]
    path = f"/2/users/{user}/tweets"
    assert x("GET", path).json() == {"meta": {"result_count": 0}}
    ids = [x("POST", "/2/tweets", json={"text": f"n{n}"}).json()["data"]["id"] for n in range(12)]
    seen: list[str] = []
    query = {"max_results": "5"}
    while True:
        page = x("GET", path, params=query).json()
        seen += [row["id"] for row in page["data"]]
        if "next_token" not in page["meta"]:
            break
        query["pagination_token"] = page["meta"]["next_token"]
    assert seen == ids[::-1]
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat().replace("+00:00", "Z")
    assert x("GET", path, params={"start_time": later}).json()["meta"]["result_count"] == 0
    assert x("GET", path, params={"end_time": later}).json()["meta"]["result_count"] == 10
    since = x("GET", path, params={"since_id": ids[9], "until_id": ids[11]}).json()
    assert [row["id"] for row in since["data"]] == [ids[10]]
    reply = x("POST", "/2/tweets", json={"text": "re", "reply": {"in_reply_to_tweet_id": ids[0]}})
    shown = x("GET", path, params={"exclude": "replies,retweets"}).json()["data"]
    assert reply.json()["data"]["id"] not in [row["id"] for row in shown]


@pytest.mark.parametrize(
    "query",
    [
        {"max_results": "4"},
        {"max_results": "many"},
        {"colour": "red"},
        {"tweet.fields": "colour"},
        {"start_time": "yesterday"},
        {"start_time": "2026-01-01T00:00:00"},
        {"pagination_token": "!"},
    ],
)
def test_the_timeline_refuses_wrong_queries(x: Client, query: dict[str, str]) -> None:
    user = x("GET", "/2/users/me").json()["data"]["id"]
    assert x("GET", f"/2/users/{user}/tweets", params=query).status_code == 400
    assert x("GET", "/2/users/12/tweets").status_code == 404


def test_both_spellings_of_the_field_parameter_are_understood(x: Client) -> None:
    made = x("POST", "/2/tweets", json={"text": "a"}).json()["data"]["id"]
    for name in ("tweet.fields", "post.fields"):
        shown = x("GET", f"/2/tweets/{made}", params={name: "created_at,public_metrics"}).json()["data"]
        assert shown["created_at"].endswith("Z")
        assert shown["public_metrics"]["like_count"] == 0


def test_duplicates_are_taken_unless_it_is_switched_on(box: Sandbox, x: Client) -> None:
    for _ in range(2):
        assert x("POST", "/2/tweets", json={"text": "again"}).status_code == 201
    doubled = box.summary()["doubled"]
    assert [row["count"] for row in doubled] == [2]
    box.configure(refuse_duplicates=True)
    answer = x("POST", "/2/tweets", json={"text": "again"})
    assert answer.status_code == 403
    assert "duplicate content" in answer.json()["detail"]


def test_the_day_of_the_app_counts_over_all_accounts(
    box: Sandbox, x: Client, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platforms.sandbox.x.APP_POSTS_A_DAY", 2)
    assert client("sandbox-x-other")("POST", "/2/tweets", json={"text": "one"}).status_code == 201
    assert x("POST", "/2/tweets", json={"text": "two"}).status_code == 201
    box.configure(enforce_limits=True)
    answer = x("POST", "/2/tweets", json={"text": "three"})
    assert answer.status_code == 429
    assert answer.headers["x-app-limit-24hour-remaining"] == "0"
    assert int(answer.headers["x-app-limit-24hour-reset"]) > datetime.now(UTC).timestamp() + 86_000


def test_limits_are_told_and_only_enforced_on_demand(box: Sandbox, x: Client) -> None:
    answer = x("POST", "/2/tweets", json={"text": "0"})
    assert answer.headers["x-rate-limit-limit"] == "100"
    assert answer.headers["x-rate-limit-remaining"] == "99"
    for number in range(1, 101):
        answer = x("POST", "/2/tweets", json={"text": str(number)})
    assert (answer.status_code, answer.headers["x-rate-limit-remaining"]) == (201, "1")
    box.configure(enforce_limits=True)
    answer = x("POST", "/2/tweets", json={"text": "over"})
    assert (answer.status_code, answer.headers["x-rate-limit-remaining"]) == (429, "0")
    assert int(answer.headers["x-rate-limit-reset"]) > datetime.now(UTC).timestamp()
    assert len(box.accepted()) == 101
