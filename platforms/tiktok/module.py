"""The face of TikTok as a platform module."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel

from media.rules import rule
from platforms import oauth
from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
    Identity,
    Json,
    MediaKind,
    NotPublished,
    NotSent,
    PollOutcome,
    PrepareOutcome,
    Processing,
    PublishingCall,
    PublishOutcome,
    Quota,
    RateLimited,
    Ready,
    Reconciled,
    ReconcileKind,
    Refreshed,
    Rejected,
    Transport,
    Unknown,
    Violation,
)
from platforms.connect import granted_scopes
from platforms.outcomes import mapping, option_violations
from platforms.readiness import Looked, Waiting
from platforms.tiktok import api, connect, creator, doubt, lookup, readiness, status, tokens, upload
from platforms.tiktok.kinds import KINDS
from platforms.tiktok.models import (
    CAPTION_LIMIT,
    DESCRIPTION_LIMIT,
    MAX_PHOTOS,
    Credentials,
    Kind,
    Options,
    is_direct,
    kind_of,
    options_of,
    utf16_length,
)

_log = logging.getLogger(__name__)

INIT_BUDGET_S = 30.0
DIRECT_CALL = "direct post: the last chunk of an upload, else the init"
INBOX_CALL = "share to the inbox: the last chunk of an upload, else the init"
"""Of all kinds of media, since TikTok counts all of them together, and direct posts apart from the inbox."""
CONTENT_INIT = f"{api.PUBLISH}/content/init/"
_VIDEO_ONLY = ("disable_duet", "disable_stitch", "cover_timestamp_ms", "ai_generated")
_PHOTO_ONLY = ("title", "cover_index", "auto_add_music")
_DIRECT_ONLY = (
    "privacy", "disable_comment", "disable_duet", "disable_stitch", "cover_timestamp_ms", "auto_add_music",
    "brand_content", "brand_organic", "ai_generated",
)  # fmt: skip


class TikTok:
    """Posts videos and photos to TikTok, or sends them to the creator's inbox.

    Which request publishes: of an uploaded video the last chunk (its init and the other chunks do not); of a video
    by URL and of photos the init. Doubt about a last chunk is settled by the publish_id. A lost answer of an init
    that publishes loses the publish_id: a public post is then searched for, any other is held for a person.
    """

    name = "tiktok"
    api_hosts = frozenset({api.HOST, api.UPLOAD_HOST})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    connector = connect.CONNECTOR
    kinds_of_post = KINDS
    capabilities = Capabilities(
        title="TikTok",
        text_limit=CAPTION_LIMIT,
        text_unit=f"UTF-16 units of the caption; the text of a photo post may have {DESCRIPTION_LIMIT}",
        media={"video": rule("tiktok", "video"), "photo": rule("tiktok", "photo")},
        transport=Transport.EITHER,
        alt_text_limit=None,
        threads=False,
        quotas=(
            Quota(
                "tiktok-posts-24h",
                15,
                24 * 3600,
                source="TikTok content sharing guidelines, as quoted 2026-10",
                call=DIRECT_CALL,
            ),
            Quota(
                "tiktok-pending-shares-24h",
                5,
                24 * 3600,
                source="Content Posting API v2, Upload page (inbox), 2026-08",
                call=INBOX_CALL,
            ),
            Quota("tiktok-inits-1min", 6, 60, source="Content Posting API v2 rate limits, 2026-08"),
        ),
        source="Content Posting API v2: Direct Post, Upload, Photo, Media Transfer and Status pages, to 2026-11",
        prepare_lead_s=900.0,
        lifetime_of_prepared_s=(doubt.LIFETIME - doubt.MARGIN).total_seconds(),
        url_pattern="https://www.tiktok.com/@{handle}/video/{remote_id}",
    )

    def text_length(self, text: str) -> int:
        """UTF-16 units."""
        return utf16_length(text)

    def placement(self, draft: Draft) -> str:
        """``video`` or ``photo``, by the media."""
        return "photo" if draft.media and kind_of(draft) is Kind.PHOTOS else "video"

    # --- Rules ----------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Options, privacy, text, number and mix of media. Formats and sizes are ``media.rules``."""
        wrong = list(option_violations(Options, draft.options, self.name))
        if wrong:
            # What else is wrong hangs on options that cannot be read.
            return wrong
        options = options_of(draft)
        return [
            *self._option_violations(draft, options),
            *self._text_violations(draft),
            *self._media_violations(draft),
            *creator.violations(draft, mapping(draft.account.facts.get("creator"))),
        ]

    def _option_violations(self, draft: Draft, options: Options) -> Iterator[Violation]:
        if options.mode == "direct" and options.privacy is None:
            message = "A post on TikTok needs a privacy level; there is no default, the author has to choose."
            yield self._violation("privacy_required", message, "options.privacy")
        photos = kind_of(draft) is Kind.PHOTOS
        useless = dict.fromkeys(() if photos else _PHOTO_ONLY, "a video")
        useless |= dict.fromkeys(_VIDEO_ONLY if photos else (), "photos")
        if options.mode == "inbox":
            useless |= dict.fromkeys(_DIRECT_ONLY, "the inbox")
        for name, where in useless.items():
            if draft.media and getattr(options, name) != Options.model_fields[name].default:
                message = f"TikTok takes no {name} for {where}."
                yield self._violation("option_without_effect", message, f"options.{name}")
        if photos and draft.media and options.cover_index >= len(draft.media):
            yield self._violation("cover_index", "The cover is none of the photos.", "options.cover_index")

    def _text_violations(self, draft: Draft) -> Iterator[Violation]:
        photos = bool(draft.media) and kind_of(draft) is Kind.PHOTOS
        length, limit = utf16_length(draft.text), DESCRIPTION_LIMIT if photos else CAPTION_LIMIT
        if length > limit:
            yield self._violation("text_too_long", f"The text has {length} UTF-16 units; TikTok allows {limit}.")
        if draft.text and draft.media and not photos and not is_direct(draft):
            message = "TikTok keeps no caption with a video for the inbox; the creator writes it in the app."
            yield self._violation("text_without_effect", message)

    def _media_violations(self, draft: Draft) -> Iterator[Violation]:
        videos = [item for item in draft.media if item.kind is not MediaKind.IMAGE]
        if not draft.media:
            yield self._violation("media_required", "A post on TikTok needs a video or photos.", "media")
        elif videos and len(draft.media) > 1:
            yield self._violation("mixed_media", "TikTok takes one video, or photos; not both.", "media")
        elif len(draft.media) > MAX_PHOTOS:
            yield self._violation("too_many_media", f"TikTok takes up to {MAX_PHOTOS} photos.", "media")

    def _violation(self, code: str, message: str, field: str = "text", file: str | None = None) -> Violation:
        return Violation(code, message, field, file or None, self.name)

    # --- Publishing -----------------------------------------------------------------------------------------

    def needs_prepare(self, draft: Draft) -> bool:
        """True but for a pull into the inbox: what is posted needs the creator's options, an upload its chunks."""
        return is_direct(draft) or kind_of(draft) is Kind.UPLOADED_VIDEO

    def wants_url(self, draft: Draft) -> bool:
        """True for photos, and for a video whose author asked for it."""
        return kind_of(draft) is not Kind.UPLOADED_VIDEO

    def publishing_call(self, draft: Draft) -> PublishingCall:
        """The last chunk of an upload; otherwise the init."""
        name = DIRECT_CALL if is_direct(draft) else INBOX_CALL
        if kind_of(draft) is Kind.UPLOADED_VIDEO:
            return PublishingCall(
                name,
                ReconcileKind.TWO_STEP,
                budget_s=upload.BUDGET_S,
                read_lag_s=doubt.STATUS_LAG.total_seconds(),
            )
        search = lookup.can_search(draft)
        return PublishingCall(
            name,
            ReconcileKind.LOOKUP if search else ReconcileKind.NONE,
            budget_s=INIT_BUDGET_S,
            read_lag_s=60.0 if search else 0.0,
            absence_provable=False,
        )

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Asks what the creator may do; of an upload, sends all but the last chunk."""
        stopped = self._advance(call, draft)
        if stopped is not None:
            return stopped
        job = upload.job_of(call)
        if doubt.is_in_doubt(job):
            return Ready()  # its status decides, not its age
        ends = job.get("expires_at")
        return Ready(datetime.fromisoformat(ends) if ends else call.now() + creator.FRESH)

    def _advance(self, call: Call, draft: Draft) -> api.Refusal | None:
        stopped = creator.ensure(call, draft)
        if stopped is not None or kind_of(draft) is not Kind.UPLOADED_VIDEO:
            return stopped
        return upload.advance(call, draft)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Sends the last chunk, or the init that publishes.

        Where an earlier try may have got through, its status is asked for first: what TikTok has is not sent again,
        and what failed there is begun anew.
        """
        job = upload.job_of(call)
        if job.get("publish_id") and (job.get("tries") or not job.get("url")):
            known = self._known(call, draft)
            if known is not None:
                return known
        stopped = self._advance(call, draft)
        if stopped is not None:
            return stopped
        return upload.send_last(call, draft) if kind_of(draft) is Kind.UPLOADED_VIDEO else self._init(call, draft)

    def _known(self, call: Call, draft: Draft) -> PublishOutcome | None:
        """What is settled about an earlier try; None: go on, with the same publish_id where there still is one."""
        state = status.read(call, draft)
        if not isinstance(state, status.State):
            return status.unread(state)
        if state.stage is not status.Stage.UPLOADING:
            return status.settled(call, draft, state)
        job, item = upload.job_of(call), draft.media[0]
        if doubt.is_open(job, item, call.now()):
            return None
        if not isinstance(doubt.lacking(job, item, call.now()), Absent):
            return Unknown("upload_doubtful", "The upload takes no more, and may be complete.")
        upload.forget(call)
        return None

    def _init(self, call: Call, draft: Draft) -> PublishOutcome:
        """The init of photos, or of a video that TikTok pulls."""
        urls = [item.url for item in draft.media]
        if not urls or None in urls:
            return NotSent("no_url", "The media have no address that TikTok could fetch them from.")
        if kind_of(draft) is Kind.PHOTOS:
            path, body = CONTENT_INIT, self._photo_body(call, draft, urls)
        else:
            source: dict[str, Json] = {"source": "PULL_FROM_URL", "video_url": urls[0]}
            path, body = upload.init_path(draft), upload.init_body(call, draft, source)
        reply = api.post(call, path, effect=Effect.PUBLISHES, json=body)
        publish_id = api.data(reply).get("publish_id")
        if publish_id:
            given: dict[str, Json] = {"job": {"publish_id": str(publish_id)}}
            try:
                call.save(**given)
            except Exception as error:  # noqa: BLE001 - whatever it was: nothing but this id tells of the post
                # It goes with the outcome, which waits for the database.
                _log.warning("the publish_id could not be saved at once: %s", type(error).__name__)
            return Processing(status.POLL_S, checkpoint=given)
        return creator.mismatch(call, draft, reply) or api.refusal_of_init(call, reply)

    def _photo_body(self, call: Call, draft: Draft, urls: list[str | None]) -> dict[str, Json]:
        options = options_of(draft)
        info: dict[str, Json] = {"description": draft.text}
        if options.title:
            info["title"] = options.title
        if is_direct(draft):
            info |= {
                "privacy_level": options.privacy,
                "disable_comment": options.disable_comment or creator.of(call).get("comment_disabled") is True,
                "auto_add_music": options.auto_add_music,
                "brand_content_toggle": options.brand_content,
                "brand_organic_toggle": options.brand_organic,
            }
        return {
            "media_type": "PHOTO",
            "post_mode": "DIRECT_POST" if is_direct(draft) else "MEDIA_UPLOAD",
            "post_info": info,
            "source_info": {"source": "PULL_FROM_URL", "photo_images": urls, "photo_cover_index": options.cover_index},
        }

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """How far TikTok is. What failed for a passing reason is prepared anew: ``Ready`` then asks for ``publish``."""
        if upload.job_of(call).get("publish_id"):
            state = status.read(call, draft)
            if not isinstance(state, status.State):
                return status.unread(state)
            known = status.settled(call, draft, state)
            if isinstance(known, RateLimited | AuthExpired):
                return NotPublished(known)
            return known if known is not None else Processing(status.RETRY_S)
        # What was begun has failed and is forgotten: a refusal now speaks of the post, not of a question about it.
        stopped = self._advance(call, draft)
        return NotPublished(stopped) if stopped is not None else Ready()

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """By the publish_id's status; without one, among the creator's public posts."""
        return lookup.look_up(call, draft, doubt)

    # --- Accounts -------------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to, and what the creator may do (``facts["creator"]``, ``facts["scopes"]``)."""
        scopes = granted_scopes(call.credentials)
        fields = "open_id,display_name" + (",username" if "user.info.profile" in scopes else "")
        reply = api.get(call, "/v2/user/info/", {"fields": fields})
        user = mapping(api.data(reply).get("user"))
        if not user.get("open_id"):
            return api.refusal(call, reply)
        facts: dict[str, Json] = {"display_name": user.get("display_name"), "scopes": list(scopes)}
        if "video.publish" in scopes or not scopes:
            info = creator.ask(call)
            if isinstance(info, AuthExpired) and not info.permanent:
                return info
            # A cap or a missing scope says nothing against who this is; the options are asked for at each post.
            facts |= {"creator": info} if isinstance(info, dict) else {}
        name = user.get("username") or mapping(facts.get("creator")).get("creator_username")
        return Identity(
            remote_id=str(user["open_id"]),
            handle=str(name or ""),
            facts=facts,
            scopes=scopes,
            missing_scopes=tuple(scope for scope in api.SCOPES if scope not in scopes) if scopes else (),
        )

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """New tokens; the refresh token changes as well."""
        return tokens.refresh(call)

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the access token runs out."""
        return oauth.expires_at(credentials)

    def ready_check(self, call: Call, waiting: Sequence[Waiting]) -> Looked:
        """What the creator may do now, and whether the day's cap is reached."""
        return readiness.check(call, waiting)

    def access_ends_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When nothing renews the access any more."""
        return readiness.access_ends_at(credentials)
