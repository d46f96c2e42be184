"""Which records belong to the deployment that a source reads now."""

import pytest
from rigatoni_core.api.identity import Identity, identity_record, proves_another, read_identity, same_deployment

PRESENT = Identity("rs0", "replica-set:a", ("1", "2", "3"))


@pytest.mark.parametrize(
    ("recorded", "verdict"),
    [
        (PRESENT, True),
        (Identity("rs0", "", ("1",)), True),
        (Identity("renamed", "", ("9", "3")), True),
        (Identity("rs0", "replica-set:a", ("9",)), True),
        (Identity("rs0", "replica-set:b", ("1", "2", "3")), False),
        (Identity("rs0", "", ("8", "9")), False),
        (Identity("rs0", "cluster:b", ("9",)), False),
        (Identity("rs0", "cluster:b", ("1",)), True),
        (Identity("rs0", "cluster:b"), None),
        (Identity("rs0"), None),
        (Identity("elsewhere"), None),
        (Identity(), None),
    ],
)
def test_J9_a_record_is_of_this_deployment_of_another_or_unknown(recorded, verdict):
    assert same_deployment(recorded, PRESENT) is verdict


def test_J9_an_empty_deployment_lacks_all_that_was_recorded_and_one_that_may_not_be_listed_is_unknown():
    assert same_deployment(Identity("rs0", "", ("1",)), Identity("rs0", "", ())) is False
    assert same_deployment(PRESENT, Identity("rs0")) is None
    assert same_deployment(Identity("rs0", "replica-set:a"), Identity("rs0")) is None


def test_J9_missing_collections_do_not_prove_another_deployment_and_a_different_id_does():
    assert not proves_another(Identity("rs0", "", ("9",)), PRESENT)
    assert not proves_another(Identity("rs0", "cluster:a"), PRESENT)
    assert proves_another(Identity("rs0", "replica-set:b", ("1",)), PRESENT)


def test_a_few_collections_are_recorded():
    many = Identity("rs0", "", tuple(f"{number:03}" for number in range(100)), ("gone",))
    assert many.bounded() == Identity("rs0", "", tuple(f"{number:03}" for number in range(Identity.LIMIT)))
    assert same_deployment(many.bounded(), many) is True


def test_J9_a_deployment_is_recognized_by_what_it_once_had_and_not_refused_for_lacking_it():
    present = Identity("rs0", "", ("5",), ("4",))
    assert same_deployment(Identity("rs0", "", ("4",)), present) is True
    assert same_deployment(Identity("rs0", "", ("1",)), present) is False
    assert same_deployment(Identity("rs0", "", ("1",)), present.knowing(Identity("rs0", "", ("3",), ("1",)))) is True
    assert same_deployment(present, Identity("rs0", "", ("6",), ("5",))) is True
    assert same_deployment(Identity("rs0", "", (), ("4",)), Identity("rs0", "", ("6",))) is None


@pytest.mark.parametrize("identity", [PRESENT, Identity(), Identity(collections=()), Identity("rs0", former=("1",))])
def test_an_identity_comes_back_from_its_record(identity):
    assert read_identity(identity_record(identity)) == identity


def test_the_deployment_that_older_versions_recorded_is_a_name_only():
    assert read_identity("rs0") == Identity("rs0")
