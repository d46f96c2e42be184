"""Invalid URIs that the driver explains badly, and options read from URIs."""

import pytest
from rigatoni_mongodb.scope import Watch
from rigatoni_mongodb.uri import check_uri, option_of


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
@pytest.mark.parametrize(
    "rest",
    [
        "user:senti/nel@host:27017/",
        "user:123/sentinel@host",
        "user:senti/nel@host/db?authSource=admin",
        "user:sentinel?x@host/",
        "user:sentinel#x@host/",
        "user:sentinel[x@host/",
        "user:sentinel@x@host/",
        "user:sentinel:x@host/",
        "us/er:sentinel@host/",
        "user:/sentinel@host/",
    ],
)
def test_an_unescaped_password_is_said_and_not_shown(scheme, rest):
    with pytest.raises(ValueError, match="must be escaped: write : as %3A") as caught:
        check_uri(f"{scheme}://{rest}")
    assert "sentinel" not in str(caught.value)
    assert "database" not in str(caught.value)


def test_a_password_with_a_slash_and_a_question_mark_is_said_too():
    with pytest.raises(ValueError, match="must be escaped"):
        check_uri("mongodb://user:sentinel?w/@host/db")


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:p%2Fw%40x%3A@host/db?authSource=admin",
        "mongodb://host/?appName=me@home",
        "mongodb://host/db?appName=a/b@c",
        "mongodb://user@host/",
        "mongodb://one:27017,two:27018/?replicaSet=rs",
        "mongodb://[::1]:27017/",
        "mongodb://user:pw@[::1]:27017/",
    ],
)
def test_what_is_escaped_or_stands_in_an_option_is_no_error(uri):
    check_uri(uri)


def test_another_fault_is_still_the_drivers():
    with pytest.raises(ValueError, match="key=value"):
        check_uri("mongodb://user:pw@host/?nonsense")


@pytest.mark.parametrize(
    ("uri", "value"),
    [
        ("mongodb://h/?maxPoolSize=7", "7"),
        ("mongodb://h/?a=b&MAXPOOLSIZE=8", "8"),
        ("mongodb+srv://h/db?maxpoolsize=9", "9"),
        ("mongodb://maxPoolSize=1:x@h/", None),
        ("mongodb://h/", None),
        ("mongodb://h/?maxPoolSizeX=7", None),
    ],
)
def test_an_option_is_found_whatever_its_case(uri, value):
    assert option_of(uri, "maxPoolSize") == value


@pytest.mark.parametrize("name", ["shop.system.views", "shop.system.*", "local.oplog.rs", "admin.*", "config.chunks"])
def test_what_belongs_to_the_server_is_refused_before_connecting(name):
    with pytest.raises(ValueError, match="belongs to MongoDB itself: watch"):
        Watch.parse(name)


@pytest.mark.parametrize("name", ["shop.systems", "shop.my.system.x", "localities.a", "*"])
def test_what_only_resembles_it_is_not(name):
    assert Watch.parse(name).name == name
