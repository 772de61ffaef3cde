"""Pinterest's calls: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from sandbox_client import VIDEO, Client, clip, picture

from platforms.sandbox import Sandbox

Clients = Callable[[str], Client]


class Store(http.server.BaseHTTPRequestHandler):
    """Serves the picture of the test, a text, and a redirect."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kinds = {"/picture.png": "image/png", "/text.png": "image/png", "/page": "text/html"}
        data = picture() if self.path == "/picture.png" else b"no picture"
        status = 302 if self.path == "/moved" else 200 if self.path in kinds else 404
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/picture.png")
        self.send_header("Content-Type", kinds.get(self.path, "text/plain"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@pytest.fixture
def store() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def sent(data: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"source_type": "image_base64", "content_type": kind, "data": base64.b64encode(data).decode()}


def test_a_pin_from_bytes(box: Sandbox, pinterest: Client, board: str) -> None:
    body = {
        "board_id": board,
        "title": "Soup",
        "description": "Warm & good",
        "link": "https://example.com/r?x=1",
        "alt_text": "a bowl",
        "dominant_color": "#aa5500",
        "media_source": sent(picture()),
    }
    made = pinterest("POST", "/v5/pins", json=body)
    assert made.status_code == 201
    pin = made.json()
    for name in ("board_id", "title", "description", "link", "alt_text", "dominant_color"):
        assert pin[name] == body[name]
    assert pin["media"]["images"]["600x"]["height"] == 900
    assert requests.get(pin["media"]["images"]["600x"]["url"], timeout=10).content == picture()
    assert pinterest("GET", f"/v5/pins/{pin['id']}").json() == pin
    content = box.accepted()[0]["content"]
    assert (content["title"], content["text"], content["pictures"][0]["alt"]) == (
        "Soup",
        "Warm & good",
        "a bowl",
    )


def test_a_pin_from_a_url_is_really_fetched(box: Sandbox, pinterest: Client, board: str, store: str) -> None:
    def pin(path: str) -> requests.Response:
        source = {"source_type": "image_url", "url": f"{store}{path}"}
        return pinterest("POST", "/v5/pins", json={"board_id": board, "media_source": source})

    assert pin("/picture.png").status_code == 201
    for path in ("/text.png", "/page", "/none", "/moved"):
        assert pin(path).status_code == 400, path
    assert "Unable to reach the URL" in pin("/none").json()["message"]
    assert len(box.accepted()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/a.png",
        "http://[2001:db8::1]/a.png",
        "http://0.0.0.0/a.png",
        "https://127.0.0.1/a.png",
        "file:///etc/hostname",
        "http://127.0.0.1:port/a.png",
        "http://127.0.0.1:1/a.png",
        "nothing",
    ],
)
def test_the_sandbox_fetches_from_this_machine_only(pinterest: Client, board: str, url: str) -> None:
    source = {"source_type": "image_url", "url": url}
    answer = pinterest("POST", "/v5/pins", json={"board_id": board, "media_source": source})
    assert answer.status_code == 400
    assert "Unable to reach the URL" in answer.json()["message"]


def test_a_carousel(box: Sandbox, pinterest: Client, board: str, store: str) -> None:
    def pin(source: dict[str, Any]) -> requests.Response:
        return pinterest("POST", "/v5/pins", json={"board_id": board, "media_source": source})

    items = [{**sent(picture(colour)), "title": colour} for colour in ("red", "blue")]
    for item in items:
        del item["source_type"]
    good = pin({"source_type": "multiple_image_base64", "items": items, "index": 1})
    assert good.status_code == 201, good.text
    assert [item["title"] for item in good.json()["media"]["items"]] == ["red", "blue"]
    pulled = [{"url": f"{store}/picture.png"}] * 2
    assert pin({"source_type": "multiple_image_urls", "items": pulled}).status_code == 201
    assert pin({"source_type": "multiple_image_urls", "items": pulled[:1]}).status_code == 400
    assert pin({"source_type": "multiple_image_urls", "items": pulled * 3}).status_code == 400
    assert pin({"source_type": "multiple_image_base64", "items": items, "index": 2}).status_code == 400
    other = sent(picture(size=(90, 90)))
    del other["source_type"]
    mixed = {"source_type": "multiple_image_base64", "items": [items[0], other]}
    assert pin(mixed).status_code == 400
    assert len(box.accepted()) == 2


def test_a_video_pin(box: Sandbox, pinterest: Client, board: str) -> None:
    box.configure(processing_s=0.0)

    def pin(media_id: str, **more: object) -> requests.Response:
        source = {"source_type": "video_id", "media_id": media_id, **more}
        return pinterest("POST", "/v5/pins", json={"board_id": board, "media_source": source})

    def upload(data: bytes) -> str:
        made = pinterest("POST", "/v5/media", json={"media_type": "video"}).json()
        state = pinterest("GET", f"/v5/media/{made['media_id']}").json()["status"]
        assert state == "registered"
        assert pin(made["media_id"], cover_image_key_frame_time=0).status_code == 400
        form, files = made["upload_parameters"], {"file": ("v.mp4", data, "video/mp4")}
        assert requests.post(made["upload_url"], data=form, files=files, timeout=10).status_code == 204
        return str(made["media_id"])

    media_id = upload(VIDEO)
    assert pinterest("GET", f"/v5/media/{media_id}").json()["status"] == "succeeded"
    assert pin(media_id).status_code == 400
    made = pin(media_id, cover_image_content_type="image/png", cover_image_data=sent(picture())["data"])
    assert (made.status_code, made.json()["creative_type"]) == (201, "VIDEO")
    assert pin(media_id, cover_image_key_frame_time=0).status_code == 201
    broken = upload(b"no video at all")
    assert pinterest("GET", f"/v5/media/{broken}").json()["status"] == "failed"
    assert [row["media_id"] for row in pinterest("GET", "/v5/media").json()["items"]] == [broken, media_id]
    assert pinterest("GET", "/v5/media/12").status_code == 404
    assert pinterest("POST", "/v5/media", json={"media_type": "image"}).status_code == 400
    shown = made.json()["media"]
    assert (shown["media_type"], shown["width"], shown["height"]) == ("video", 720, 1280)
    assert requests.get(shown["cover_image_url"], timeout=10).content == picture()
    page = requests.get(box.url, timeout=10).text
    assert page.count("<video ") == 2
    assert page.count(" poster=") == 1


def without(fields: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda fields: fields, 204, ""),
        (lambda fields: {**fields, "surprise": "1"}, 403, "AccessDenied"),
        (lambda fields: {**fields, "key": "uploads/other"}, 403, "AccessDenied"),
        (lambda fields: {**fields, "policy": fields["policy"][:-8] + "AAAAAAA="}, 403, "SignatureDoesNotMatch"),
        (lambda fields: {**fields, "x-amz-signature": "0"}, 403, "SignatureDoesNotMatch"),
        (lambda fields: {**fields, "Content-Type": "video/mp4"}, 403, "AccessDenied"),
        *[
            (lambda fields, name=name: without(fields, name), 403, "")
            for name in ("key", "policy", "x-amz-signature", "x-amz-date", "x-amz-credential", "x-amz-security-token")
        ],
    ],
)
def test_the_store_takes_the_form_that_was_signed_and_no_other(
    pinterest: Client, change: Callable[[dict[str, str]], dict[str, str]], status: int, code: str
) -> None:
    made = pinterest("POST", "/v5/media", json={"media_type": "video"}).json()
    files = {"file": ("v.mp4", VIDEO, "video/mp4")}
    answer = requests.post(made["upload_url"], data=change(made["upload_parameters"]), files=files, timeout=10)
    assert (answer.status_code, code in answer.text) == (status, True)
    state = pinterest("GET", f"/v5/media/{made['media_id']}").json()["status"]
    assert (state == "registered") is (status != 204)


def test_the_store_wants_one_file_after_the_fields_and_no_token(box: Sandbox, pinterest: Client) -> None:
    made = pinterest("POST", "/v5/media", json={"media_type": "video"}).json()
    url, fields, file = made["upload_url"], made["upload_parameters"], ("v.mp4", VIDEO, "video/mp4")

    def send(*parts: tuple[str, Any], **more: Any) -> requests.Response:
        return requests.post(url, files=list(parts), timeout=10, **more)

    told = [(name, (None, value)) for name, value in fields.items()]
    assert "exactly one file" in send(*told).text
    assert "exactly one file" in send(*told, ("file", file), ("file", file)).text
    # What comes after the file is not read.
    assert send(("file", file), *told).status_code == 403
    token = {"Authorization": "Bearer sandbox-pinterest-acme"}
    assert "Only one auth mechanism" in send(*told, ("file", file), headers=token).text
    assert "MalformedPOSTRequest" in requests.post(url, data=b"bytes", timeout=10).text
    assert send(*told, ("file", file)).status_code == 204
    box.configure(media_ttl_s=0.0)
    late = pinterest("POST", "/v5/media", json={"media_type": "video"}).json()
    answer = requests.post(url, data=late["upload_parameters"], files={"file": file}, timeout=10)
    assert (answer.status_code, "Policy expired" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (clip(4.0), "succeeded"),
        (clip(900.0), "succeeded"),
        (clip(3.0), "failed"),
        (clip(901.0), "failed"),
        (clip(width=720, height=1440), "succeeded"),
        (clip(width=720, height=1500), "failed"),
        (clip(width=1528, height=800), "succeeded"),
        (clip(width=1600, height=800), "failed"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(99), "failed"),
        (picture(), "failed"),
    ],
)
def test_what_is_wrong_with_a_video_shows_while_it_is_processed(
    box: Sandbox, pinterest: Client, data: bytes, state: str
) -> None:
    box.configure(processing_s=0.0)
    made = pinterest("POST", "/v5/media", json={"media_type": "video"}).json()
    files = {"file": ("v.mp4", data, "video/mp4")}
    sent = requests.post(made["upload_url"], data=made["upload_parameters"], files=files, timeout=10)
    assert sent.status_code == 204
    assert pinterest("GET", f"/v5/media/{made['media_id']}").json()["status"] == state


def test_on_the_trial_tier_limits_are_of_a_day_and_pins_are_hidden(
    box: Sandbox, pinterest: Client, client: Clients
) -> None:
    box.account("pinterest", "tried", tier="trial")
    tried = client("sandbox-pinterest-tried")
    pins: list[requests.Response] = []
    for one in (pinterest, tried):
        board = one("GET", "/v5/boards").json()["items"][0]["id"]
        pins.append(one("POST", "/v5/pins", json={"board_id": board, "media_source": sent(picture())}))
    limits = [(pin.headers["x-ratelimit-limit"], int(pin.headers["x-ratelimit-reset"]) > 3600) for pin in pins]
    assert limits == [("100", False), ("300", True)]
    open_path, hidden_path = (f"/v5/pins/{pin.json()['id']}" for pin in pins)
    assert (pinterest("GET", hidden_path).status_code, tried("GET", hidden_path).status_code) == (404, 200)
    assert tried("GET", open_path).status_code == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"board_id": None}, 400),
        ({"board_id": "abc"}, 400),
        ({"board_id": "12"}, 404),
        ({"board_section_id": "12"}, 404),
        ({"media_source": None}, 400),
        ({"media_source": {}}, 400),
        ({"media_source": {"source_type": "pin_url"}}, 400),
        ({"media_source": {"source_type": "image_url"}}, 400),
        ({"media_source": {"source_type": "image_url", "url": "", "is_standard": 1}}, 400),
        ({"media_source": sent(b"text")}, 400),
        ({"media_source": sent(picture(), "image/jpeg")}, 400),
        ({"media_source": sent(picture(), "image/webp")}, 400),
        ({"media_source": {**sent(picture()), "data": "%%"}}, 400),
        ({"media_source": {**sent(picture()), "data": "abc"}}, 400),
        ({"media_source": {"source_type": "video_id", "media_id": "12"}}, 400),
        ({"title": "t" * 101}, 400),
        ({"description": "d" * 801}, 400),
        ({"alt_text": "a" * 501}, 400),
        ({"link": "l" * 2049}, 400),
        ({"title": "t" * 100, "description": "d" * 800, "alt_text": "a" * 500}, 201),
        ({"title": None, "alt_text": None, "further": 1}, 201),
    ],
)
def test_create_checks_its_body(
    box: Sandbox, pinterest: Client, board: str, change: dict[str, object], status: int
) -> None:
    body = {"board_id": board, "media_source": sent(picture()), **change}
    answer = pinterest("POST", "/v5/pins", json=body)
    assert answer.status_code == status, answer.text
    assert len(box.accepted()) == (status == 201)
    if status != 201:
        assert set(answer.json()) == {"code", "message"}


def test_boards_and_sections(pinterest: Client, client: Clients) -> None:
    made = pinterest("POST", "/v5/boards", json={"name": "Garden", "privacy": "SECRET"})
    assert made.status_code == 201
    assert pinterest("POST", "/v5/boards", json={"name": "Garden"}).status_code == 400
    assert pinterest("POST", "/v5/boards", json={"name": ""}).status_code == 400
    board_id = made.json()["id"]
    assert pinterest("GET", f"/v5/boards/{board_id}").json() == made.json()
    section = pinterest("POST", f"/v5/boards/{board_id}/sections", json={"name": "Roses"})
    assert section.status_code == 201
    assert pinterest("GET", f"/v5/boards/{board_id}/sections").json()["items"] == [section.json()]
    body = {
        "board_id": board_id,
        "board_section_id": section.json()["id"],
        "media_source": sent(picture()),
    }
    assert pinterest("POST", "/v5/pins", json=body).json()["board_section_id"] == section.json()["id"]
    names: list[str] = []
    query: dict[str, str] = {"page_size": "1"}
    while True:
        page = pinterest("GET", "/v5/boards", params=query).json()
        names += [row["name"] for row in page["items"]]
        if page["bookmark"] is None:
            break
        query["bookmark"] = page["bookmark"]
    assert names == ["Ideas", "Recipes", "Garden"]
    secret = pinterest("GET", "/v5/boards", params={"privacy": "SECRET"}).json()["items"]
    assert [row["name"] for row in secret] == ["Garden"]
    assert pinterest("GET", "/v5/boards", params={"page_size": "0"}).status_code == 400
    assert pinterest("GET", "/v5/boards", params={"bookmark": "x"}).status_code == 400
    answer = client("sandbox-pinterest-other")("GET", f"/v5/boards/{board_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, 40)


def test_pins_of_a_board_newest_first_in_pages(pinterest: Client, board: str, client: Clients) -> None:
    made = []
    for number in range(3):
        body = {"board_id": board, "title": str(number), "media_source": sent(picture())}
        made.append(pinterest("POST", "/v5/pins", json=body).json()["id"])
    first = pinterest("GET", f"/v5/boards/{board}/pins", params={"page_size": "2"}).json()
    rest = pinterest("GET", f"/v5/boards/{board}/pins", params={"bookmark": first["bookmark"]}).json()
    assert [row["id"] for row in first["items"] + rest["items"]] == made[::-1]
    assert rest["bookmark"] is None
    assert pinterest("GET", f"/v5/boards/{board}").json()["pin_count"] == 3
    assert client("sandbox-pinterest-other")("DELETE", f"/v5/pins/{made[0]}").status_code == 403
    gone = pinterest("DELETE", f"/v5/pins/{made[0]}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert pinterest("DELETE", f"/v5/pins/{made[0]}").status_code == 404
    assert [row["id"] for row in pinterest("GET", "/v5/pins").json()["items"]] == [made[2], made[1]]
    assert pinterest("GET", "/v5/user_account").json()["pin_count"] == 2


def test_limits_are_told_in_seconds(box: Sandbox, pinterest: Client) -> None:
    answer = pinterest("GET", "/v5/boards")
    assert answer.headers["x-ratelimit-limit"] == "1000"
    assert 0 < int(answer.headers["x-ratelimit-reset"]) <= 61


PUBLIC = ["boards:read", "boards:write", "pins:read", "pins:write", "user_accounts:read"]


def test_pins_of_a_section_are_listed_apart(box: Sandbox, pinterest: Client, client: Clients, board: str) -> None:
    section = pinterest("POST", f"/v5/boards/{board}/sections", json={"name": "Roses"}).json()["id"]
    body = {"board_id": board, "media_source": sent(picture())}
    pinterest("POST", "/v5/pins", json=body)
    made = [pinterest("POST", "/v5/pins", json={**body, "board_section_id": section}).json()["id"] for _ in range(2)]
    path = f"/v5/boards/{board}/sections/{section}/pins"
    assert [pin["id"] for pin in pinterest("GET", path).json()["items"]] == made[::-1]
    assert pinterest("GET", f"/v5/boards/{board}/sections/12/pins").status_code == 404
    assert pinterest("GET", f"/v5/boards/12/sections/{section}/pins").status_code == 404
    assert client("sandbox-pinterest-other")("GET", path).status_code == 404
    box.set_faults([{"step": "*.read", "kind": "read_lag", "lag_s": 60.0}])
    assert pinterest("GET", path).json()["items"] == []


def test_a_refresh_needs_the_apps_own_secret(box: Sandbox) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-pinterest-acme"}

    def status(*app: str) -> int:
        return requests.post(f"{box.url}/v5/oauth/token", data=form, auth=app, timeout=10).status_code

    box.app("pinterest", "mine", "own", ["https://a.b/c"])
    for wrong in (("mine", "other"), ("other", "own"), ("sandbox-app-pinterest", "own"), ("", "")):
        assert status(*wrong) == 401
    assert status("mine", "own") == status("sandbox-app-pinterest", "sandbox-secret-pinterest") == 200


def test_secret_boards_need_scopes_of_their_own(box: Sandbox, client: Clients) -> None:
    boards = ["Open", {"name": "Hidden", "privacy": "SECRET"}]
    made = box.account("pinterest", "shy", boards=boards)
    shown, hidden = made["boards"]
    secret = ["boards:read_secret", "boards:write_secret", "pins:read_secret", "pins:write_secret"]
    one = client("sandbox-pinterest-shy")

    def pin(board: dict[str, str]) -> requests.Response:
        return one("POST", "/v5/pins", json={"board_id": board["id"], "media_source": sent(picture())})

    def listed() -> list[str]:
        return [board["name"] for board in one("GET", "/v5/boards").json()["items"]]

    assert pin(hidden).status_code == 201
    box.account("pinterest", "shy", scopes=PUBLIC)
    assert listed() == ["Open"]
    assert one("GET", f"/v5/boards/{hidden['id']}").status_code == 404
    assert (pin(hidden).status_code, pin(shown).status_code) == (404, 201)
    assert [row["board_id"] for row in one("GET", "/v5/pins").json()["items"]] == [shown["id"]]
    assert one("POST", "/v5/boards", json={"name": "More", "privacy": "SECRET"}).status_code == 403
    box.account("pinterest", "shy", scopes=[*PUBLIC, *secret[:3]])
    assert listed() == ["Open", "Hidden"]
    assert pin(hidden).status_code == 403
    box.account("pinterest", "shy", scopes=[*PUBLIC, *secret])
    assert pin(hidden).status_code == 201
    assert len(box.accepted()) == 3


def test_the_account_has_a_scope_of_its_own(box: Sandbox, pinterest: Client) -> None:
    pinterest("GET", "/v5/boards")
    box.account("pinterest", "acme", scopes=PUBLIC[:-1])
    assert (pinterest("GET", "/v5/user_account").status_code, pinterest("GET", "/v5/boards").status_code) == (403, 200)
