"""Settings: from the environment, else from the stack on this machine; wrong ones are named, never shown."""

from __future__ import annotations

import stat

import pytest

from scheduler.errors import NotConfigured
from scheduler.settings import environment_alone
from stack.home import ObjectStore, StackInfo, default_home, save_stack


@pytest.fixture
def stack_home(bare_environment, tmp_path):
    """A home in which a stack has run."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    save_stack(
        home,
        StackInfo(
            "postgresql://u:pw@127.0.0.1:1/d",
            "redis://127.0.0.1:2/0",
            ObjectStore("http://127.0.0.1:3", "id", "s3cret", "bucket"),
        ),
    )
    (home / "secret.key").write_text("stack-key\n")
    return bare_environment


def test_with_nothing_set_each_need_says_what_to_do(bare_environment):
    settings = bare_environment.change()
    for need, words in (
        (settings.database, "DATABASE_URL"),
        (settings.broker, "REDIS_URL"),
        (settings.store, "R2_ENDPOINT_URL"),
        (settings.secret, "SCHEDULERX_SECRET_KEY"),
    ):
        with pytest.raises(NotConfigured, match=words) as told:
            need()
        assert "schedulerx up" in str(told.value)


def test_a_stack_on_this_machine_is_found(stack_home):
    settings = stack_home.change()
    assert settings.database() == "postgresql://u:pw@127.0.0.1:1/d"
    assert settings.broker() == "redis://127.0.0.1:2/0"
    assert settings.store().bucket == "bucket"
    assert settings.secret() == "stack-key"


def test_the_environment_wins_over_the_stack_one_by_one(stack_home):
    settings = stack_home.change(REDIS_URL="redis://elsewhere:6379/0")
    assert settings.broker() == "redis://elsewhere:6379/0"
    assert settings.database().endswith(":1/d")


def test_the_stacks_key_is_not_used_for_another_database(stack_home):
    settings = stack_home.change(DATABASE_URL="postgresql://elsewhere/d")
    with pytest.raises(NotConfigured, match="SCHEDULERX_SECRET_KEY"):
        settings.secret()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", "0"),
        ("burst_count", "many"),
        ("window_minutes", "-1"),
        ("log_format", "xml"),
        ("url_lifetime_seconds", "604801"),
        ("backoff_seconds", "0"),
        ("quarantine_seconds", "-1"),
        ("claim_batch", "0"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(bare_environment, name, value):
    with pytest.raises(NotConfigured, match=name) as told:
        bare_environment.change(**{name: value})
    assert value not in str(told.value).replace(name, "") or len(value) < 4


def test_secrets_are_not_printed(bare_environment):
    settings = bare_environment.change(
        DATABASE_URL="postgresql://u:pw1234@h/d", secret_key="k3y", R2_SECRET_ACCESS_KEY="s3cret"
    )
    assert not [one for one in ("pw1234", "k3y", "s3cret") if one in repr(settings)]


def test_half_an_object_store_names_what_is_missing(bare_environment):
    settings = bare_environment.change(R2_ENDPOINT_URL="http://127.0.0.1:3", R2_BUCKET="b")
    with pytest.raises(NotConfigured, match=r"R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY"):
        settings.store()


def test_a_platforms_address_can_be_replaced(bare_environment):
    settings = bare_environment.change(SCHEDULERX_MY_NET_API_URL="http://127.0.0.1:9", SCHEDULERX_X_API_URL="")
    assert settings.api_url("my-net") == "http://127.0.0.1:9"
    assert settings.api_url("x") is None


def test_the_spool_is_private(bare_environment):
    spool = bare_environment.change().spool()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700


def test_settings_are_read_once(bare_environment, monkeypatch):
    from scheduler.settings import current

    first = bare_environment.change(max_attempts=3)
    monkeypatch.setenv("SCHEDULERX_MAX_ATTEMPTS", "4")
    assert current() is first


@pytest.mark.parametrize(
    ("words", "leads"),
    [("24,1", [86_400, 3600]), ("0.5 48", [172_800, 1800]), ("1,1", [3600]), ("", []), (" ", [])],
)
def test_readiness_hours(bare_environment, words, leads):
    assert bare_environment.change(readiness_hours=words).readiness_leads() == leads


@pytest.mark.parametrize("words", ["0", "-1", "soon", "1;2", "337", "nan"])
def test_readiness_hours_that_are_none(bare_environment, words):
    with pytest.raises(NotConfigured, match="readiness_hours"):
        bare_environment.change(readiness_hours=words)


# --- Addresses of services ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "hunter2nonsense"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hunter2@h/d"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/d"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:70000/d"),
        ("DATABASE_URL", "postgresql://u:hunter2@h/d?hunter2=1"),
        ("DATABASE_URL", "postgresql:/u:hunter2@h/d"),
        ("DATABASE_URL", "postgresql://u:hunter2/more@h/d"),  # health reads it by libpq, which takes no / there
        ("REDIS_URL", "hunter2nonsense"),
        ("REDIS_URL", "http://:hunter2@h:6379/0"),
        ("REDIS_URL", "redis://:hunter2@h:port/0"),
        ("REDIS_URL", "redis://:hunter2@h/name"),
        ("REDIS_URL", "redis://"),
        ("R2_ENDPOINT_URL", "hunter2.r2.cloudflarestorage.com"),
        ("R2_ENDPOINT_URL", "https://hunter2:port"),
        ("R2_PUBLIC_URL", "ftp://hunter2"),
        ("R2_BUCKET", "hunter2/media"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_and_not_shown(bare_environment, name, value):
    with pytest.raises(NotConfigured, match=name) as told:
        bare_environment.change(**{name: value})
    assert "hunter2" not in str(told.value)
    assert told.value.__suppress_context__


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://h/d",
        "postgres://u:p%40w@h:5432/d?sslmode=require",
        "postgresql+psycopg2://u:p#w@[::1]:5432/d",
        "postgresql:///d?host=/var/run/postgresql",
        "postgresql://localhost",
        "  postgresql://h/d\n",
    ],
)
def test_what_libpq_and_sqlalchemy_read_is_taken(bare_environment, value):
    from sqlalchemy import make_url

    from db.session import normalized

    taken = bare_environment.change(DATABASE_URL=value).database()
    assert taken == value.strip()
    assert make_url(normalized(taken)).drivername == "postgresql+psycopg2"


@pytest.mark.parametrize("value", ["redis://h", "rediss://u:p%40w@h:6379/3", "redis://[::1]:6379/"])
def test_what_redis_reads_is_taken(bare_environment, value):
    assert bare_environment.change(REDIS_URL=value).broker() == value


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_variable_is_not_set(stack_home, blank):
    names = ("DATABASE_URL", "REDIS_URL", "R2_ENDPOINT_URL", "R2_BUCKET", "R2_PUBLIC_URL", "SCHEDULERX_SECRET_KEY")
    settings = stack_home.change(**dict.fromkeys(names, blank))
    assert settings.database() == "postgresql://u:pw@127.0.0.1:1/d"
    assert settings.broker() == "redis://127.0.0.1:2/0"
    assert settings.store().bucket == "bucket"
    assert settings.secret() == "stack-key"
    assert settings.database_advice() == "start it with: schedulerx up"


def test_the_advice_is_for_whose_database_it_is(bare_environment):
    advice = bare_environment.change(DATABASE_URL="postgresql://h/d").database_advice()
    assert "DATABASE_URL" in advice
    assert "schedulerx up" not in advice


# --- The data folder, and what the stack wrote there ------------------------------------------------------------


@pytest.mark.parametrize("words", ["", "  ", "~/x", "relative/x", "/some/where"])
def test_the_home_is_the_stacks(bare_environment, monkeypatch, tmp_path, words):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    home = bare_environment.change(SCHEDULERX_HOME=words).home
    assert home == default_home()
    assert home.is_absolute()
    assert "~" not in str(home)


def test_a_home_of_nobody_is_told(bare_environment):
    with pytest.raises(NotConfigured, match="SCHEDULERX_HOME"):
        bare_environment.change(SCHEDULERX_HOME="~no-such-user-here/x")


@pytest.mark.parametrize("words", ["{", "[]", "null", '{"version": 99}', '{"version": 1, "r2": {"a": 1}}'])
def test_a_stack_that_cannot_be_read_is_told_unless_nothing_of_it_is_needed(stack_home, tmp_path, words):
    (tmp_path / "home" / "stack.json").write_text(words)
    with pytest.raises(NotConfigured, match="schedulerx up"):
        stack_home.change()
    assert environment_alone().home == tmp_path / "home"
    settings = stack_home.change(
        DATABASE_URL="postgresql://h/d", REDIS_URL="redis://h", R2_ENDPOINT_URL="http://127.0.0.1:3"
    )
    assert settings.database() == "postgresql://h/d"
