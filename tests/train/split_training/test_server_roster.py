"""Claims about whom a server of split training knows, and by which connection."""

from headgate.profiles.train_messages import Place
from headgate.train.split_training.server_roster import Roster


def test_clients_of_a_checkpoint_are_known_but_not_at_work() -> None:
    roster = Roster({"ann": Place(2, 5), "bo": Place(3)})
    assert roster.places == {"ann": Place(2, 5), "bo": Place(3)}
    assert (roster.at_work, roster.peers) == ([], [])
    assert roster.name_at(b"1") is None


def test_a_silent_client_is_not_at_work_and_is_still_known_by_its_connection() -> None:
    roster = Roster({})
    ann = roster.enter("ann", Place(0))
    ann.peer = b"1"
    assert (roster.at_work, roster.peers) == ([ann], [b"1"])
    ann.fell_silent()
    assert (roster.at_work, roster.peers) == ([], [])
    assert roster.member_at(b"1") is ann
    assert roster.name_at(b"1") == "ann"


def test_who_left_is_forgotten_and_has_no_pictures() -> None:
    roster = Roster({})
    ann = roster.enter("ann", Place(0))
    ann.peer, ann.num_pictures = b"1", 40
    assert roster.num_pictures_of("ann") == 40
    roster.leave(ann)
    assert roster.find("ann") is None
    assert roster.member_at(b"1") is None
    assert roster.num_pictures_of("ann") == 0
    assert roster.places == {}
