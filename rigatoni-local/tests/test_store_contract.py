"""A folder passes the contract suite of object stores, and the protocol over it loses nothing."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_local import files
from rigatoni_local.store import FolderLock, FolderStore
from rigatoni_testing.contracts import ObjectStoreContract
from rigatoni_testing.random_runs import STREAM, TEMPLATES, check_random_run, rounds


class TestFolderStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, tmp_path):
        folds_case = files.probe(tmp_path)

        def make():
            store = FolderStore(tmp_path, "p/shop.orders", folds_case=folds_case)
            store.prepare()
            return store

        return make


@given(st.integers(0, 2**32), st.sampled_from(TEMPLATES))
@settings(max_examples=rounds(60), deadline=None)
def test_random_templates_rejections_and_kills_lose_duplicate_and_misplace_nothing(seed, template):
    with tempfile.TemporaryDirectory() as name:

        def make():
            store = FolderStore(Path(name), STREAM.key, folds_case=folds_case)
            return store, FolderLock(store)

        folds_case = files.probe(Path(name))
        check_random_run(seed, template, make, folds_case=folds_case)


def test_a_link_has_the_content_of_its_source_and_replaces_nothing(tmp_path):
    store = FolderStore(tmp_path, "p/shop.orders")
    store.prepare()
    assert store.create("staged", b"one", media_type="", record={})
    assert store.link("staged", "day/one")
    assert store.link("staged", "day/one") is False
    assert store.create("other", b"two", media_type="", record={})
    assert store.link("staged", "other") is False
    assert store.link("gone", "new") is None
    store.delete(["staged", "gone"])
    assert (store.read("day/one"), store.read("other"), store.read("new")) == (b"one", b"two", None)
