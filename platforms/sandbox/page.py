"""What people look at: the accounts side by side, each post as its readers would see it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from platforms.sandbox.emulator import Emulator, Route
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.page_facts import FACTS_STYLE, facts
from platforms.sandbox.server import Server
from platforms.sandbox.wire import Request, Response, json_response

SHOWN_POSTS = 30
"""For each account."""
SHOWN_ACCOUNTS = 24

STYLE = """
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--ink:#16181c;--soft:#5b6470;--line:#e1e4e8}
@media(prefers-color-scheme:dark){:root{--back:#0d1014;--card:#171b21;--ink:#e9ecef;--soft:#98a2ae;--line:#2a3038}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
header{padding:1.1rem 1.25rem .3rem}
h1{font-size:1.2rem;margin:0}
header p{margin:.25rem 0 0;color:var(--soft)}
header .bad{color:#c62828;font-weight:600}
main{display:grid;gap:1rem;padding:1rem 1.25rem 2rem;
grid-template-columns:repeat(auto-fill,minmax(290px,1fr));align-items:start}
main.one{grid-template-columns:minmax(0,640px);justify-content:center}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;overflow:hidden}
section>h2{display:flex;align-items:center;gap:.65rem;margin:0;padding:.8rem 1rem;font-size:1rem;
border-bottom:1px solid var(--line)}
h2 .who{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
h2 small{display:block;color:var(--soft);font-weight:400;font-size:.82rem}
.avatar{flex:none;width:38px;height:38px;border-radius:50%;display:grid;place-items:center;color:#fff;
font-weight:600;font-size:.85rem}
.tag{color:#fff;border-radius:99px;padding:.08rem .6rem;font-size:.75rem;font-weight:600;
box-shadow:0 0 0 1px var(--line)}
article{padding:.85rem 1rem;border-bottom:1px solid var(--line)}
article:last-child{border-bottom:0}
article h3{margin:0 0 .2rem;font-size:1rem}
article p{margin:0 0 .5rem;white-space:pre-wrap;overflow-wrap:anywhere}
.pictures{display:grid;gap:4px;grid-template-columns:repeat(2,1fr);margin:0 0 .5rem;border-radius:10px;
overflow:hidden}
.pictures.n1{grid-template-columns:1fr}
.pictures.n3 figure:first-child{grid-column:span 2}
figure{margin:0;display:flex;flex-direction:column;background:var(--line);min-height:48px;min-width:0}
figure video{width:100%;max-height:340px}
figure img{flex:1 1 auto;width:100%;height:auto;min-height:0;max-height:340px;object-fit:cover}
.one figure img{max-height:none}
figcaption{padding:.25rem .55rem;font-size:.78rem;color:var(--soft);background:var(--card)}
figcaption b{font-weight:600;border:1px solid var(--line);border-radius:4px;padding:0 .25rem;
margin-right:.35rem}
.foot{color:var(--soft);font-size:.82rem;display:flex;gap:.1rem .75rem;flex-wrap:wrap}
a{color:#1769c2;text-decoration:none}a:hover{text-decoration:underline}
@media(prefers-color-scheme:dark){a{color:#6cb0f5}}
.foot a{color:inherit}
.gone{opacity:.45}
.empty{color:var(--soft);padding:2rem 1.25rem}
"""

SCRIPT = """
const box=document.getElementById('live');
setInterval(async()=>{
  if(document.hidden)return;
  try{
    const answer=await fetch('/_sandbox/feed');
    const html=await answer.text();
    if(answer.ok&&html!==box.dataset.last){box.dataset.last=html;box.innerHTML=html}
  }catch(_){}
},1500);
"""

_ALLOWED = "default-src 'none'; img-src 'self'; media-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; "
POLICY = ("content-security-policy", f"{_ALLOWED}script-src 'unsafe-inline'")


class Pages:
    """The front page, a page for each post, the pictures."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._world = server.world

    def routes(self) -> Sequence[Route]:
        """Post pages also answer under the paths of the platforms' own links, with this origin."""
        own = [
            Route("GET", "/", "page", "page", self._front),
            Route("GET", "/_sandbox/feed", "feed", "page", self._feed),
            Route("GET", "/_sandbox/blob/{sha}", "blob", "page", self._blob),
            Route("GET", "/_sandbox/avatar/{platform}/{file}", "avatar", "page", self._avatar),
            Route("GET", "/favicon.ico", "icon", "page", self._icon),
            Route("GET", "/{platform}/status/{id}", "post", "page", self._post),
            Route("GET", "/{platform}/pin/{id}", "post", "page", self._post),
            Route("GET", "/pin/{id}", "post", "page", self._post),
        ]
        return tuple(own)

    async def _front(self, _request: Request) -> Response:
        body = f'<div id="live">{self._live()}</div><script>{SCRIPT}</script>'
        return _page("SchedulerX sandbox", body)

    async def _feed(self, _request: Request) -> Response:
        return Response(200, self._live().encode(), "text/html; charset=utf-8", (("cache-control", "no-store"),))

    async def _post(self, request: Request) -> Response:
        wanted = request.args["id"]
        for emulator in self._server.emulators.values():
            post = self._world.ledger.find(emulator.name, wanted)
            if post is not None:
                head = self._header(emulator, post.account)
                body = f'<main class="one"><section>{head}{self._article(emulator, post)}</section></main>'
                return _page(f"{emulator.title}: {post.account}", body)
        return _page("Not here", '<p class="empty">There is no such post, or it was deleted.</p>', 404)

    async def _blob(self, request: Request) -> Response:
        data = self._world.media.blob(request.args["sha"])
        if data is None:
            return json_response({"error": "no such picture"}, 404)
        kinds = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"))
        kind = next((name for mark, name in kinds if data.startswith(mark)), "application/octet-stream")
        if data[8:12] == b"WEBP":
            kind = "image/webp"
        elif data[4:8] == b"ftyp":
            kind = "video/mp4"
        headers = [("cache-control", "max-age=31536000, immutable"), ("x-content-type-options", "nosniff")]
        part = _part(request.headers.get("range", ""), len(data))
        if part is None:
            return Response(200, data, kind, (*headers, ("accept-ranges", "bytes")))
        # Browsers play and wind a video by asking for parts of it.
        first, last = part
        headers.append(("content-range", f"bytes {first}-{last}/{len(data)}"))
        return Response(206, data[first : last + 1], kind, headers)

    async def _avatar(self, request: Request) -> Response:
        name = request.args["file"].removesuffix(".svg")
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96"><rect width="96" height="96" '
            f'fill="{_colour(name)}"/><text x="48" y="60" font-family="sans-serif" font-size="36" '
            f'fill="#fff" text-anchor="middle">{escape(_initials(name))}</text></svg>'
        )
        return Response(200, svg.encode(), "image/svg+xml", (POLICY,))

    async def _icon(self, _request: Request) -> Response:
        return Response(204)

    # --- pieces ---

    def _live(self) -> str:
        summary = self._world.ledger.summary()
        doubled = len(summary["doubled"])
        text = f"{summary['accepted']} posts accepted on {len(summary['accounts'])} accounts"
        state = f'<span class="bad">{doubled} published twice</span>' if doubled else "none published twice"
        told = f"<p>{text}, {state}. Nothing here left this machine.</p>"
        head = f"<header><h1>SchedulerX sandbox</h1>{told}</header>{self._strip(summary['accounts'])}"
        keys = self._world.ledger.accounts()[:SHOWN_ACCOUNTS]
        if not keys:
            return f'{head}<p class="empty">No post has arrived yet. This page refreshes itself.</p>'
        counts = {(row["platform"], row["account"]): row["accepted"] for row in summary["accounts"]}
        return f"{head}<main>{''.join(self._column(*key, counts[key]) for key in keys)}</main>"

    def _strip(self, accounts: Sequence[dict[str, Any]]) -> str:
        """Every platform that is emulated, with how many posts it has, and what was ordered to go wrong."""
        tags = []
        for emulator in self._server.emulators.values():
            count = sum(row["accepted"] for row in accounts if row["platform"] == emulator.name)
            kind = "tag" if count else "tag none"
            tags.append(
                f'<span class="{kind}" style="background:{emulator.colour}">{escape(emulator.title)} {count}</span>'
            )
        rules = self._world.faults.show()
        struck = sum(rule["struck"] for rule in rules)
        if rules:
            tags.append(f"<span>{len(rules)} faults ordered, {struck} times struck</span>")
        return f'<div class="strip">{"".join(tags)}</div>'

    def _column(self, platform: str, account: str, count: int) -> str:
        emulator = self._server.emulators[platform]
        posts = self._world.ledger.newest_first(platform, account)[:SHOWN_POSTS]
        articles = "".join(self._article(emulator, post) for post in posts)
        return f"<section>{self._header(emulator, account, count)}{articles}</section>"

    def _header(self, emulator: Emulator, account: str, count: int | None = None) -> str:
        known = self._world.accounts.get(emulator.name, account)
        title = escape(known.display_name if known else account)
        handle = escape(known.username if known else account)
        shown = "" if count is None else f" · {count} post{'' if count == 1 else 's'}"
        return (
            f'<h2><span class="avatar" style="background:{_colour(account)}">'
            f"{escape(_initials(account))}</span>"
            f'<span class="who">{title}<small>@{handle}{shown}</small></span>'
            f'<span class="tag" style="background:{emulator.colour}">{escape(emulator.title)}</span></h2>'
        )

    def _article(self, emulator: Emulator, post: Post) -> str:
        fields = post.fields
        title = f"<h3>{escape(fields['title'])}</h3>" if fields.get("title") else ""
        text = f"<p>{escape(post.text)}</p>" if post.text else ""
        moment = datetime.fromtimestamp(post.accepted_at, UTC)
        shown = f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'
        foot = [f'<a href="{escape(emulator.link(post))}">{shown}</a>']
        if link := fields.get("link"):
            foot.append(_link(str(link)))
        if reply := fields.get("reply_to"):
            foot.append(self._reply(emulator, str(reply)))
        if parent := fields.get("comment_on"):
            foot.append(self._reply(emulator, str(parent), "comment on"))
        if board := self._board(post):
            foot.append(f"<span>on {escape(board)}</span>")
        shown_facts, shown_pictures = facts(post), _pictures(post)
        return f'<article>{title}{text}{shown_facts}{shown_pictures}<div class="foot">{"".join(foot)}</div></article>'

    def _reply(self, emulator: Emulator, parent_id: str, words: str = "in reply to") -> str:
        parent = self._world.ledger.find(emulator.name, parent_id)
        told = f"{words} {escape(parent_id.rpartition('/')[2])}"
        return f"<span>{told}</span>" if parent is None else f'<a href="{escape(emulator.link(parent))}">{told}</a>'

    def _board(self, post: Post) -> str:
        account = self._world.accounts.get(post.platform, post.account)
        boards: list[dict[str, Any]] = account.facts.get("boards", []) if account else []
        names = [board["name"] for board in boards if board["id"] == post.fields.get("board_id")]
        return str(names[0]) if names else ""


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """The first and last byte of one asked-for range; None: the whole (no range, several, or one that is not there)."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    if found is None or found[0] == "bytes=-" or size == 0:
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    return (first, last) if first <= last else None


def _pictures(post: Post) -> str:
    if not post.pictures:
        return ""
    figures = "".join(_figure(picture, str(post.private.get("poster") or "")) for picture in post.pictures)
    return f'<div class="pictures n{len(post.pictures)}">{figures}</div>'


def _figure(picture: Picture, poster: str = "") -> str:
    caption = f"<figcaption><b>ALT</b>{escape(picture.alt)}</figcaption>" if picture.alt else ""
    if picture.mime.startswith("video/"):
        cover = f' poster="/_sandbox/blob/{poster}"' if poster else ""
        film = f'<video src="/_sandbox/blob/{picture.sha256}" controls preload="metadata"{cover}></video>'
        return f"<figure>{film}<figcaption><b>VIDEO</b>{escape(picture.mime)}</figcaption>{caption}</figure>"
    if not picture.mime.startswith("image/"):
        return f"<figure><figcaption>{escape(picture.mime or 'file')}</figcaption>{caption}</figure>"
    size = f' width="{picture.width}" height="{picture.height}"' if picture.width else ""
    source = f"/_sandbox/blob/{picture.sha256}"
    image = f'<img src="{source}" alt="{escape(picture.alt)}" loading="lazy"{size}>'
    return f"<figure>{image}{caption}</figure>"


def _link(url: str) -> str:
    shown = url.partition("://")[2][:40] or url[:40]
    if not url.startswith(("http://", "https://")):
        return f"<span>{escape(shown)}</span>"
    return f'<a href="{escape(url)}" rel="noreferrer noopener nofollow">{escape(shown)}</a>'


def _initials(name: str) -> str:
    words = [word for word in name.replace("_", " ").replace("-", " ").replace(".", " ").split() if word]
    return "".join(word[0] for word in words[:2]).upper() or "?"


def _colour(name: str) -> str:
    hue = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") % 360
    return f"hsl({hue} 50% 40%)"


def _page(title: str, body: str, status: int = 200) -> Response:
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{FACTS_STYLE}</style>"
        '<noscript><meta http-equiv="refresh" content="3"></noscript>'
        f"</head><body>{body}</body></html>"
    )
    return Response(status, html.encode(), "text/html; charset=utf-8", (POLICY, ("cache-control", "no-store")))
