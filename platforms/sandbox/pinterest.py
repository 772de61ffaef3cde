"""Pinterest API v5 as its contract says: account, boards, tokens. Pins are in ``pinterest_pins``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.accounts import Account, number_for
from platforms.sandbox.emulator import RefusedError, Route, World, signed_in
from platforms.sandbox.ledger import Post
from platforms.sandbox.oauth_apps import basic_of
from platforms.sandbox.pinterest_media import Uploads
from platforms.sandbox.pinterest_pins import Pins
from platforms.sandbox.pinterest_words import READ, WRITE, PinterestWords, moment, open_fields
from platforms.sandbox.shape import Text
from platforms.sandbox.wire import Request, Response, json_response

SCOPES = "boards:read boards:write pins:read pins:write user_accounts:read"
ACCESS_LIFE_S = 2_592_000.0
REFRESH_LIFE_S = 5_184_000.0
DEFAULT_BOARDS = ("Ideas", "Recipes")
BOARD = open_fields(
    {
        "name": Text(low=1, high=50),
        "description": Text(high=500),
        "privacy": Text(one_of=("PUBLIC", "SECRET")),
    },
    "name",
)
SECTION = open_fields({"name": Text(low=1, high=180)}, "name")


class Pinterest(PinterestWords):
    """Pinterest."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.pins = Pins(self, self._board, self._is_secret)
        self.uploads = Uploads(self)

    def routes(self) -> Sequence[Route]:
        see, make = ("boards:read",), ("boards:read", "boards:write")
        boards, one, whose = "/v5/boards", "/v5/boards/{id}", ("user_accounts:read",)
        return (
            Route("GET", boards, "boards", "account", self.boards, READ, see),
            Route("POST", boards, "create_board", "account", self.create_board, WRITE, make),
            Route("GET", one, "board", "account", self.board, READ, see),
            Route("GET", f"{one}/sections", "sections", "account", self.sections, READ, see),
            Route("POST", f"{one}/sections", "create_section", "account", self.create_section, WRITE, make),
            Route("GET", "/v5/user_account", "user_account", "account", self.user_account, READ, whose),
            Route("POST", "/v5/oauth/token", "token", "token", self.token, signed=False),
            *self.pins.routes(),
            *self.uploads.routes(),
        )

    def link(self, post: Post) -> str:
        return f"/pinterest/pin/{post.remote_id}"

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        if "boards" in wanted:
            rows = [{"name": one} if isinstance(one, str) else one for one in wanted.pop("boards")]
            account.facts["boards"] = [self._new_board(account, **row) for row in rows]
        if "tier" in wanted:
            account.facts["tier"] = str(wanted.pop("tier"))

    def facts(self, account: Account) -> dict[str, Any]:
        return {"boards": [{"id": board["id"], "name": board["name"]} for board in self._boards(account)]}

    # --- account and boards ---

    async def user_account(self, request: Request) -> Response:
        account = signed_in(request)
        return json_response(
            {
                "id": account.user_id,
                "username": account.username,
                "account_type": "BUSINESS",
                "business_name": account.display_name,
                "profile_image": f"{self.world.url}/_sandbox/avatar/pinterest/{account.name}.svg",
                "board_count": len(self._boards(account)),
                "pin_count": len(self.world.ledger.newest_first("pinterest", account.name)),
                "follower_count": 0,
                "following_count": 0,
                "monthly_views": 0,
            }
        )

    async def boards(self, request: Request) -> Response:
        account = signed_in(request)
        privacy = request.query().get("privacy", "ALL")
        rows = [
            self._shown_board(account, board)
            for board in self._seen(account)
            if privacy in {"ALL", "PUBLIC_AND_SECRET", board["privacy"]}
        ]
        return self.page(request, rows)

    async def create_board(self, request: Request) -> Response:
        account = signed_in(request)
        body = self.checked(BOARD, self.json_body(request))
        if body.get("privacy") == "SECRET" and not self.may(account, "boards:write_secret"):
            raise self.refuse(403)
        boards = self._boards(account)
        if any(board["name"] == body["name"] for board in boards):
            raise self.refuse(400, "You already have a board with this name.")
        board = self._new_board(account, body["name"], body.get("privacy", "PUBLIC"))
        boards.append(board)
        self.world.accounts.save(account)
        return json_response(self._shown_board(account, board), 201)

    async def board(self, request: Request) -> Response:
        account = signed_in(request)
        return json_response(self._shown_board(account, self._board(account, request.args["id"])))

    async def sections(self, request: Request) -> Response:
        return self.page(request, list(self._board(signed_in(request), request.args["id"])["sections"]))

    async def create_section(self, request: Request) -> Response:
        account = signed_in(request)
        board = self._board(account, request.args["id"])
        body = self.checked(SECTION, self.json_body(request))
        section = _new_section(board["id"], body["name"])
        board["sections"].append(section)
        self.world.accounts.save(account)
        return json_response(section, 201)

    def _boards(self, account: Account) -> list[dict[str, Any]]:
        if "boards" not in account.facts:
            account.facts["boards"] = [self._new_board(account, name) for name in DEFAULT_BOARDS]
            self.world.accounts.save(account)
        boards: list[dict[str, Any]] = account.facts["boards"]
        return boards

    def _seen(self, account: Account) -> list[dict[str, Any]]:
        """The boards that the account's tokens may see."""
        hidden = set() if self.may(account, "boards:read_secret") else {"SECRET"}
        return [board for board in self._boards(account) if board["privacy"] not in hidden]

    def _is_secret(self, account: Account, board_id: str) -> bool:
        return any(board["id"] == board_id and board["privacy"] == "SECRET" for board in self._boards(account))

    def _new_board(
        self, account: Account, name: str, privacy: str = "PUBLIC", sections: Sequence[str] = ()
    ) -> dict[str, Any]:
        board_id = number_for("board", account.name, name)
        known = [_new_section(board_id, title) for title in sections]
        return {"id": board_id, "name": name, "privacy": privacy, "sections": known, "created_at": moment()}

    def _board(self, account: Account, board_id: str) -> dict[str, Any]:
        for board in self._seen(account):
            if board["id"] == board_id:
                return board
        raise RefusedError(json_response({"code": 40, "message": "Board not found."}, 404))

    def _shown_board(self, account: Account, board: dict[str, Any]) -> dict[str, Any]:
        pins = self.world.ledger.newest_first("pinterest", account.name)
        shown = {name: board[name] for name in ("id", "name", "privacy", "created_at")}
        shown["pin_count"] = sum(pin.fields["board_id"] == board["id"] for pin in pins)
        return {
            **shown,
            "owner": {"username": account.username},
            "collaborator_count": 0,
            "follower_count": 0,
        }

    # --- tokens ---

    async def token(self, request: Request) -> Response:
        form = request.form()
        if request.media_type != "application/x-www-form-urlencoded":
            raise self.refuse(400, "The body has to be a form.")
        client_id, secret = basic_of(request.headers.get("authorization", ""))
        app = self.world.apps.get("pinterest", client_id)
        if app is None or app.client_secret != secret:
            raise self.refuse(401, "Authentication failed: the app's id and secret are needed, as HTTP Basic.")
        if form.get("grant_type") == "refresh_token":
            token = self.world.accounts.refresh_token("pinterest", form.get("refresh_token", ""))
            if token is None or not self.world.accounts.good(token):
                raise self.refuse(401, "The refresh token is invalid or expired.")
            name = token.account
        elif form.get("grant_type") == "authorization_code":
            grant = self.world.apps.redeem("pinterest", form, app.client_id, self.world.accounts)
            if isinstance(grant, str):
                raise self.refuse(400, f"The authorization code is invalid: {grant}.")
            name = grant.account
        else:
            raise self.refuse(400, "The grant_type is not supported.")
        account = self.world.accounts.ensure("pinterest", name)
        life_s = self.world.settings.token_life_s or ACCESS_LIFE_S
        access = self.world.accounts.issue(account, expires_in_s=life_s)
        # Continuous: each refresh gives a new refresh token, and the earlier one lives on until its own end.
        refresh = self.world.accounts.issue(account, refresh=True, expires_in_s=REFRESH_LIFE_S)
        return json_response(
            {
                "access_token": access.value,
                "response_type": form["grant_type"],
                "token_type": "bearer",
                "expires_in": int(life_s),
                "scope": SCOPES if account.scopes is None else " ".join(account.scopes),
                "refresh_token": refresh.value,
                "refresh_token_expires_in": int(REFRESH_LIFE_S),
                "refresh_token_expires_at": int(time.time() + REFRESH_LIFE_S),
            }
        )


def _new_section(board_id: str, name: str) -> dict[str, str]:
    return {"id": number_for("section", board_id, name), "name": name}
