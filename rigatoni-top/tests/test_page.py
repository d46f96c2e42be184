"""The local page: for this machine, for reading, with nothing from elsewhere. In a real browser: tests/test_top.py."""

import http.client
import json

import pytest
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_top.history import History
from rigatoni_top.page import Page


@pytest.fixture
def page(status):
    history = History(lambda: [(7, status())])
    history.look()
    page = Page(history, 0.05, 0)
    yield page
    page.close()


def get(port, path="/", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def test_it_loads_nothing_from_elsewhere(page):
    for path in ("/", "/page.css", "/page.js"):
        status, headers, content = get(page.port, path)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"http" not in content.replace(b"http-equiv", b"").replace(b"http://www.w3.org/2000/svg", b"")


def test_only_requests_that_name_this_machine_are_served(page):
    assert get(page.port, Host="evil.example")[0] == 403
    assert get(page.port, Host=f"evil.example:{page.port}")[0] == 403
    assert get(page.port, Host=f"localhost:{page.port}")[0] == 200


def test_it_can_only_be_read(page):
    assert get(page.port, "/../page.py")[0] == 404
    assert get(page.port, "/", "HEAD")[2] == b""
    assert [get(page.port, "/", method)[0] for method in ("POST", "PUT", "DELETE")] == [501] * 3


def test_its_figures_are_those_of_the_command(page):
    record = json.loads(get(page.port, "/figures.json")[2])
    assert record["interval"] == 0.05
    assert [stream["events"] for stream in record["streams"]] == [30]


def test_a_port_that_is_taken_is_an_error_with_a_remedy(page):
    with pytest.raises(ConfigurationError) as caught:
        Page(History(list), 1.0, page.port)
    assert "--port 0" in caught.value.remedy
