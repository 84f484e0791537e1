"""Finding containers: IDs, names, beginnings of IDs, and who has a name."""

from __future__ import annotations

import pytest

from engine.containers.index import ContainerIndex
from engine.errors import Conflict, InvalidArgument, NotFound
from engine.model.record import ContainerRecord


def index_of(*pairs: tuple[str, str]) -> ContainerIndex:
    """Return an index with containers of these IDs and names."""
    index = ContainerIndex()
    for container_id, name in pairs:
        index.claim(name, container_id)
        index.add(ContainerRecord(id=container_id, name=name, created_ns=1))
    return index


def test_an_id_a_name_and_a_beginning_find_a_container_in_this_order() -> None:
    index = index_of(("abc" + "0" * 61, "web"), ("abd" + "0" * 61, "abc"))
    assert index.find("web").name == "web"
    assert index.find("/web").name == "web"
    assert index.find("abc").name == "abc"  # a name goes before a beginning
    assert index.find("abc0").name == "web"
    assert index.find("abc" + "0" * 61).name == "web"


def test_a_beginning_of_two_is_refused() -> None:
    index = index_of(("abc1", "one"), ("abc2", "two"))
    with pytest.raises(InvalidArgument, match=r"^multiple IDs found with provided prefix: abc$"):
        index.find("abc")


@pytest.mark.parametrize("reference", ["nothing", "", "f" * 64, "/", "web/"])
def test_what_is_not_there_is_named(reference: str) -> None:
    with pytest.raises(NotFound) as caught:
        index_of(("abc", "web")).find(reference)
    assert caught.value.message == f"No such container: {reference}"


@pytest.mark.parametrize("name", ["a", "-web", "web!", "we b", "wéb", "/", "../x", "web\n", "_w"])
def test_a_malformed_name_has_mobys_text(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ContainerIndex().claim(name, "abc")
    assert caught.value.message == (f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def test_a_taken_name_names_its_owner() -> None:
    index = index_of(("abc", "web"))
    with pytest.raises(Conflict) as caught:
        index.claim("/web", "def")
    assert caught.value.message == (
        'Conflict. The container name "/web" is already in use by container "abc". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def test_a_name_is_free_again_after_its_container_has_gone() -> None:
    index = index_of(("abc", "web"), ("abd", "db"))
    index.remove(index.find("web"))
    assert index.claim("web", "def") == "web"
    assert [record.name for record in index.records()] == ["db"]
    index.release("web")
    assert index.claim("web", "ghi") == "web"


def test_generated_names_are_allowed_and_differ() -> None:
    index = ContainerIndex()
    names = {index.claim("", f"{number:064x}") for number in range(300)}
    assert len(names) == 300
    assert all("_" in name for name in names)
