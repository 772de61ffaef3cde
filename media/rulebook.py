"""What each platform accepts, per placement: the table, each limit with its source and date.

Numbers are decimal (MB = 1,000,000) unless a source says MiB. Where sources disagree, the stricter one counts,
so that a file that passes here passes there. "advised" in a source is no limit and is not enforced.

``source`` speaks for every limit of a rule but those that ``ours`` names, and why we have them: a platform that states
no ratio still gets none of 1:100, which is a mistake and would be shown as a line. For all: H.264 as we make it has
4,096 pixels a side at most (level 5.2), hence the sides of videos where no source has fewer; 0.1 s is the shortest that
is a video at all, 12 hours the longest that we read. HEIC, AVIF, TIFF and BMP are made anew even where a platform
takes them, since what travels in them cannot be cut out; a still GIF becomes a PNG, which loses nothing and is smaller.
"""

from __future__ import annotations

from dataclasses import replace

from media.limits import MediaRule, VideoRule

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"
MP4, MOV, WEBM = "video/mp4", "video/quicktime", "video/webm"
MB, GB, MIB = 1_000_000, 1_000_000_000, 1 << 20

_META = "Meta Graph API v26.0, {}, read 2026-09"
_INSTAGRAM = _META.format("IG User Media reference")
_FACEBOOK = _META.format("Page photos, videos, reels and stories references")
_SIDES = "sides: none is documented, what we can decode and code; ratio: none is documented, thinner is a mistake"
_THREADS = _META.format("Threads API media specifications")
_TIKTOK = "TikTok Content Posting API v2, media transfer guide, 2026-08"
_PINTEREST = "Pinterest API v5 (OpenAPI 5.23.0) and media guides, 2026-11"
_LINKEDIN = "LinkedIn Posts, Images and Videos APIs, 2026; byte limits: the strictest of third parties, 2026-10"
_YOUTUBE = "YouTube Data API v3 discovery document and upload help, 2026-10"
_TELEGRAM = "Telegram Bot API 10.2, sending files, 2026-07"
_DISCORD = "Discord API documentation, uploading files, 2026-08"
_REDDIT = "Reddit API and third-party clients, unverified by Reddit's own pages, 2026-10"
_WORDPRESS = "WordPress core REST media endpoint (limits vary by site), 2026-10"
_X = "X API v2 media guide, 2026-08"
_BLUESKY = "atproto lexicons app.bsky.embed.images, .gallery and .video, 2026-08"
_MASTODON = "Mastodon instance configuration defaults (mastodon.social), 2026"

_PIN_VIDEO = VideoRule(
    containers=(MP4, MOV),
    codecs=("h264", "hevc"),
    max_bytes=GB,  # third-party guides 2026-10: one says 2 GB, another 1 GB
    min_duration_s=4,
    max_duration_s=15 * 60,
    max_width=4_096,
    max_height=4_096,
    min_ratio=1 / 2,
    max_ratio=1.91,
    source=_PINTEREST,
)
_PIN = MediaRule(
    platform="pinterest",
    placement="pin",
    min_count=1,
    max_count=1,
    image_mimes=(JPEG, PNG),
    max_image_bytes=20 * MB,
    max_width=10_000,
    max_height=10_000,
    min_width=1,
    min_height=1,
    min_ratio=1 / 10,  # longer than 1:2.1 is cut in the feed (guides, 2026-10) and shown whole when opened: no refusal
    max_ratio=10.0,
    alt_text_limit=500,
    source=_PINTEREST,
    ours=_SIDES,
)
_POST = MediaRule(
    platform="x",
    placement="post",
    min_count=0,
    max_count=4,
    image_mimes=(JPEG, PNG, WEBP),
    max_image_bytes=5 * MB,
    max_width=8_192,
    max_height=8_192,
    min_width=4,
    min_height=4,
    min_ratio=1 / 20,
    max_ratio=20.0,
    alt_text_limit=1_000,
    source=_X,
    ours="pictures: " + _SIDES,
    max_gif_bytes=15 * MB,
    max_gif_frames=350,
    max_gif_pixels=300_000_000,
    max_gif_width=1_280,
    max_gif_height=1_080,
    exclusive_gif=True,
    video=VideoRule(
        containers=(MP4, MOV),
        max_bytes=512 * MB,
        min_duration_s=0.5,
        max_duration_s=140,  # longer for Premium accounts only
        max_width=1_280,
        max_height=1_024,  # 1080p for subscribers only
        min_ratio=1 / 3,
        max_ratio=3.0,
        source=_X,
    ),
)
_REEL_VIDEO = VideoRule(
    containers=(MP4, MOV),
    codecs=("h264", "hevc"),
    max_bytes=300 * MB,
    min_duration_s=3,
    max_duration_s=15 * 60,
    max_width=1_920,
    max_height=4_096,  # ours: only the width is limited
    turnable=False,
    min_ratio=0.01,
    max_ratio=10.0,
    min_fps=23,
    max_fps=60,
    max_bitrate=25 * MB,
    index_first=True,
    edit_lists=False,
    source=_INSTAGRAM,
)
_IG_STORY_VIDEO = replace(_REEL_VIDEO, max_bytes=100 * MB, max_duration_s=60, min_ratio=0.1)
_FEED = MediaRule(
    platform="instagram",
    placement="feed",
    min_count=1,
    max_count=1,
    image_mimes=(JPEG,),
    max_image_bytes=8 * MB,  # 8 MiB for feed pictures, 8 MB for stories: the smaller for all
    max_width=1_440,
    max_height=1_800,  # what 1,440 wide has at 4:5
    min_width=32,  # ours: below 320 Instagram enlarges by itself
    min_height=32,
    min_ratio=4 / 5,
    max_ratio=1.91,
    alt_text_limit=1_000,
    source=_INSTAGRAM,
)
_FB_VIDEO = VideoRule(
    containers=(MP4, MOV),
    codecs=("h264", "hevc"),
    max_bytes=10 * GB,  # in parts; 1 GB and 20 minutes by URL or in one request (older texts, unverified in 2026)
    min_duration_s=1,
    max_duration_s=240 * 60,
    max_width=4_096,
    max_height=4_096,
    source=_FACEBOOK,
)
_FB_REEL = replace(
    _FB_VIDEO,
    containers=(MP4,),
    codecs=("h264", "hevc", "vp9", "av1"),
    max_bytes=GB,  # ours: none is documented for reels
    min_duration_s=3,
    max_duration_s=90,
    min_width=540,
    min_height=960,
    max_width=2_160,  # ours: none is documented; four times the least
    max_height=3_840,
    turnable=False,
    min_ratio=0.56,  # 9:16, with what whole pixels need
    max_ratio=0.57,
    min_fps=24,
)
_FB_POST = MediaRule(
    platform="facebook",
    placement="post",
    min_count=0,
    max_count=10,  # not documented; ten are known to work
    image_mimes=(JPEG, PNG),
    max_image_bytes=10 * MB,  # 4 MB are advised, and are what an older error text names
    max_width=8_192,
    max_height=8_192,
    min_width=1,
    min_height=1,
    min_ratio=1 / 20,
    max_ratio=20.0,
    alt_text_limit=None,
    source=_FACEBOOK,
    ours="count; pictures: " + _SIDES,
    video=_FB_VIDEO,
)
_THREADS_VIDEO = replace(
    _REEL_VIDEO, max_bytes=GB, min_duration_s=0.1, max_duration_s=300, source=_THREADS
)  # 100 Mb/s in the newest text, 25 in the older: the older
_THREADS_POST = MediaRule(
    platform="threads",
    placement="post",
    min_count=0,
    max_count=20,
    image_mimes=(JPEG, PNG),
    max_image_bytes=8 * MB,
    max_width=1_440,
    max_height=14_400,  # what 1,440 wide has at 1:10
    min_width=32,  # ours: below 320 Threads enlarges by itself
    min_height=32,
    min_ratio=1 / 10,
    max_ratio=10.0,
    alt_text_limit=1_000,
    source=_THREADS,
    video=_THREADS_VIDEO,
    max_videos=20,
    mixed=True,
    gif_to_video=True,
)
_TIKTOK_VIDEO = VideoRule(
    containers=(MP4, MOV, WEBM),
    codecs=("h264", "hevc", "vp8", "vp9"),
    audio_codecs=("aac", "opus", "vorbis", "mp3"),
    max_bytes=4 * GB,
    min_duration_s=3,
    max_duration_s=10 * 60,  # an account may have less: creator_info says
    max_width=4_096,
    max_height=4_096,
    min_width=360,
    min_height=360,
    min_ratio=360 / 4_096,  # no rule of its own: what the sides allow
    max_ratio=4_096 / 360,
    min_fps=23,
    max_fps=60,
    source=_TIKTOK,
)
_PHOTO = MediaRule(
    platform="tiktok",
    placement="photo",
    min_count=1,
    max_count=35,
    image_mimes=(JPEG, WEBP),
    max_image_bytes=20 * MB,
    max_width=1_080,
    max_height=1_920,  # "maximum 1080p": wider than 1080 is known to be refused
    min_width=1,
    min_height=1,
    min_ratio=1 / 20,
    max_ratio=20.0,
    alt_text_limit=None,
    source=_TIKTOK,
    ours="ratio and least sides: none is documented, thinner is a mistake",
)
_BSKY = MediaRule(
    platform="bluesky",
    placement="post",
    min_count=0,
    max_count=4,
    image_mimes=(JPEG, PNG, WEBP),
    max_image_bytes=2 * MB,
    max_width=8_192,
    max_height=8_192,
    min_width=1,
    min_height=1,
    min_ratio=1 / 100,
    max_ratio=100.0,
    alt_text_limit=10_000,  # no limit in the lexicon; a record may have 1 MB
    source=_BLUESKY,
    ours=_SIDES + "; fps. Where a server's own cap is lower (5 MiB, unless set), it says so when the video comes",
    video=VideoRule(
        max_bytes=300 * MB,
        min_duration_s=0.1,
        max_duration_s=600,  # 3 minutes before 2026-09
        max_width=3_840,
        max_height=3_840,
        steady=False,
        source=_BLUESKY,
    ),
    gif_to_video=True,
)
_TOOT = MediaRule(
    platform="mastodon",
    placement="post",
    min_count=0,
    max_count=4,
    image_mimes=(JPEG, PNG, WEBP),
    max_image_bytes=16_777_216,
    max_width=16_384,
    max_height=16_384,
    min_width=1,
    min_height=1,
    min_ratio=1 / 100,
    max_ratio=100.0,
    max_image_pixels=33_177_600,
    alt_text_limit=1_500,
    source=_MASTODON,
    ours="sides: the area alone is limited; ratio: none is documented, thinner is a mistake",
    max_gif_bytes=16_777_216,
    max_gif_area=1_280 * 720,
    exclusive_gif=True,
    video=VideoRule(
        containers=(MP4, MOV, WEBM),
        codecs=("h264", "hevc", "vp8", "vp9", "av1"),
        audio_codecs=("aac", "mp3", "opus", "vorbis"),
        max_bytes=103_809_024,
        min_duration_s=0.1,
        max_duration_s=12 * 3600,
        max_width=8_192,
        max_height=8_192,
        max_pixels=3_840 * 2_160,
        max_fps=120,
        steady=False,
        source=_MASTODON,
    ),
)
_LINKEDIN_POST = MediaRule(
    platform="linkedin",
    placement="post",
    min_count=0,
    max_count=20,
    image_mimes=(JPEG, PNG),
    max_image_bytes=5 * MB,  # none is documented; third parties say 5 to 8 MB (2026-10)
    max_width=8_192,
    max_height=8_192,
    min_width=1,
    min_height=1,
    min_ratio=1 / 50,
    max_ratio=50.0,
    max_image_pixels=36_152_319,
    alt_text_limit=4_086,
    source=_LINKEDIN,
    ours=_SIDES,
    max_gif_bytes=5 * MB,
    max_gif_frames=250,
    exclusive_gif=True,
    video=VideoRule(
        max_bytes=500 * MB,  # and 75 kB at least, which three seconds worth seeing always have
        min_duration_s=3,
        max_duration_s=30 * 60,
        max_width=4_096,
        max_height=4_096,
        min_ratio=1 / 2.4,
        max_ratio=2.4,
        min_fps=10,
        max_fps=60,
        source=_LINKEDIN,
    ),
)
_YOUTUBE_VIDEO = VideoRule(
    containers=(MP4, MOV, WEBM, "video/x-matroska", "video/x-msvideo"),
    codecs=("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "prores"),
    audio_codecs=("aac", "mp3", "opus", "vorbis", "pcm_s16le", "ac3", "flac"),
    max_bytes=256 * 1024**3,
    min_duration_s=1,
    max_duration_s=15 * 60,  # 12 hours for channels with a verified telephone number
    max_width=8_192,  # ours, as the codecs and the sound: what YouTube's upload help lists, it recodes in any case
    max_height=4_608,
    max_audio_channels=6,
    max_audio_rate=96_000,
    steady=False,
    any_depth=True,
    source=_YOUTUBE,
)
_TELEGRAM_POST = MediaRule(
    platform="telegram",
    placement="post",
    min_count=0,
    max_count=10,
    image_mimes=(JPEG, PNG, WEBP),
    max_image_bytes=10 * MB,
    max_width=9_999,
    max_height=9_999,
    max_image_sides=10_000,
    min_width=1,
    min_height=1,
    min_ratio=1 / 20,
    max_ratio=20.0,
    alt_text_limit=None,
    source=_TELEGRAM,
    ours="sides and length of videos",
    max_gif_bytes=50 * MB,
    exclusive_gif=True,
    video=VideoRule(
        max_bytes=50 * MB,
        min_duration_s=0.1,
        max_duration_s=12 * 3600,
        max_width=4_096,
        max_height=4_096,
        steady=False,
        source=_TELEGRAM,
    ),
    max_videos=10,
    mixed=True,
)
_DISCORD_POST = MediaRule(
    platform="discord",
    placement="post",
    min_count=0,
    max_count=10,
    image_mimes=(JPEG, PNG, WEBP),
    max_image_bytes=10 * MIB,  # more on boosted servers
    max_total_bytes=25 * MIB - 64_000,  # of the request; the rest is the text and what parts its files
    max_width=16_384,
    max_height=16_384,
    min_width=1,
    min_height=1,
    min_ratio=1 / 100,
    max_ratio=100.0,
    alt_text_limit=1_024,
    source=_DISCORD,
    ours=_SIDES + "; codecs: those that browsers play",
    max_gif_bytes=10 * MIB,
    video=VideoRule(
        containers=(MP4, MOV, WEBM),
        codecs=("h264", "vp8", "vp9"),
        audio_codecs=("aac", "opus", "vorbis"),
        max_bytes=10 * MIB,
        min_duration_s=0.1,
        max_duration_s=12 * 3600,
        max_width=4_096,
        max_height=4_096,
        steady=False,
        source=_DISCORD,
    ),
    mixed=True,
)
_REDDIT_POST = MediaRule(
    platform="reddit",
    placement="image",
    min_count=0,
    max_count=1,
    image_mimes=(JPEG, PNG),
    max_image_bytes=20 * MB,  # some third parties say 10 MB
    max_width=20_000,
    max_height=20_000,
    min_width=1,
    min_height=1,
    min_ratio=1 / 100,
    max_ratio=100.0,
    alt_text_limit=None,
    source=_REDDIT,
    ours=_SIDES,
    max_gif_bytes=20 * MB,
)
_UPLOAD = MediaRule(
    platform="wordpress",
    placement="post",
    min_count=0,
    max_count=20,
    image_mimes=(JPEG, PNG, WEBP),
    max_image_bytes=8 * MB,  # ours: upload_max_filesize of common hosts; a site's own is not told before the upload
    max_width=8_192,
    max_height=8_192,
    min_width=1,
    min_height=1,
    min_ratio=1 / 100,
    max_ratio=100.0,
    alt_text_limit=10_000,
    source=_WORDPRESS,
    ours=_SIDES + "; count, bytes and length: a site has its own",
    max_gif_bytes=8 * MB,
    video=VideoRule(
        containers=(MP4, MOV),
        max_bytes=64 * MB,
        min_duration_s=0.1,
        max_duration_s=12 * 3600,
        max_width=4_096,
        max_height=4_096,
        steady=False,
        source=_WORDPRESS,
    ),
    max_videos=20,
    mixed=True,
)


def _only_video(platform: str, placement: str, video: VideoRule, *, alt: int | None = None) -> MediaRule:
    """A placement that is one video."""
    return MediaRule(
        platform=platform,
        placement=placement,
        min_count=1,
        max_count=1,
        image_mimes=(),
        max_image_bytes=0,
        max_width=video.max_width,
        max_height=video.max_height,
        min_width=video.min_width,
        min_height=video.min_height,
        min_ratio=video.min_ratio,
        max_ratio=video.max_ratio,
        alt_text_limit=alt,
        source=video.source,
        video=video,
        gif_to_video=True,
    )


_ALL = (
    _PIN,
    # Ours: no limit for each slide is documented; five of 5 MB are what one request can carry as base64.
    replace(_PIN, placement="carousel", min_count=2, max_count=5, max_image_bytes=5 * MB, same_size=True),
    # The picture beside the video is its cover.
    replace(_PIN, placement="video", max_count=2, video=_PIN_VIDEO, mixed=True),
    # Since 2023 an idea pin is a pin like all others; API v5 knows no kind of its own. One picture or one video.
    replace(_PIN, placement="idea", video=_PIN_VIDEO, gif_to_video=True, ours=f"all: as a pin; {_SIDES}"),
    _POST,
    _FEED,
    replace(
        _FEED,
        placement="carousel",
        min_count=2,
        max_count=10,
        video=_IG_STORY_VIDEO,
        max_videos=10,
        mixed=True,
        gif_to_video=True,
        same_ratio=True,
    ),
    _only_video("instagram", "reel", _REEL_VIDEO),
    replace(
        _FEED,
        placement="story",
        max_height=2_560,
        min_ratio=0.1,
        max_ratio=10.0,
        alt_text_limit=None,
        video=_IG_STORY_VIDEO,
        gif_to_video=True,
    ),
    _FB_POST,
    _only_video("facebook", "reel", _FB_REEL),
    replace(
        _FB_POST,
        placement="story",
        min_count=1,
        max_count=1,
        min_ratio=_FB_REEL.min_ratio,
        max_ratio=_FB_REEL.max_ratio,
        video=replace(_FB_REEL, max_duration_s=60),
    ),
    _THREADS_POST,
    _only_video("tiktok", "video", _TIKTOK_VIDEO),
    _PHOTO,
    _BSKY,
    replace(_BSKY, placement="gallery", min_count=1, max_count=20, video=None, gif_to_video=False),
    _TOOT,
    _LINKEDIN_POST,
    _only_video("youtube", "video", _YOUTUBE_VIDEO),
    _only_video("youtube", "short", replace(_YOUTUBE_VIDEO, max_duration_s=180, max_ratio=1.0)),
    _TELEGRAM_POST,
    _DISCORD_POST,
    _REDDIT_POST,
    replace(_REDDIT_POST, placement="gallery", min_count=2, max_count=20, max_gif_bytes=None),
    _only_video(
        "reddit",
        "video",
        VideoRule(
            containers=(MP4, MOV),
            max_bytes=GB,
            min_duration_s=2,
            max_duration_s=15 * 60,
            max_width=4_096,
            max_height=4_096,
            source=_REDDIT,
        ),
    ),
    _UPLOAD,
)

RULES: dict[tuple[str, str], MediaRule] = {(one.platform, one.placement): one for one in _ALL}
