import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kapelle.errors import NotFound
from kapelle.knowledge import FolderIndex
from tests.scale import scaled

NOTE = "# France\n\nIts capital is Paris.\n\n## Rivers\n\nThe Loire is long.\nThe Seine is shorter.\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_a_passage_knows_its_file_lines_and_headings(tmp_path: Path) -> None:
    with FolderIndex(write(tmp_path, france__md=NOTE)) as index:
        (found,) = index.search("How long is the Loire?")
    assert (found.file, found.first_line, found.last_line) == ("france.md", 7, 8)
    assert found.heading == "France > Rivers"
    assert found.citation == "france.md:7"


def test_a_word_in_the_heading_counts_more_than_one_in_the_text(tmp_path: Path) -> None:
    write(tmp_path, a__md="# Rivers\n\nThe Alps are mentioned here once.", b__md="# Alps\n\nMountains, and rivers too.")
    with FolderIndex(tmp_path) as index:
        assert [found.file for found in index.search("alps")] == ["b.md", "a.md"]


def test_accents_and_word_forms_do_not_matter(tmp_path: Path) -> None:
    with FolderIndex(write(tmp_path, a__txt="Brasília was built by architects.")) as index:
        assert index.search("brasilia")
        assert index.search("architect")


def test_html_is_read_without_tags_and_scripts(tmp_path: Path) -> None:
    page = "<h1>Delta</h1>\n<script>var secret = 1</script>\n<p>Land that a <b>river</b> builds.</p>"
    with FolderIndex(write(tmp_path, page__html=page)) as index:
        (found,) = index.search("river")
        assert found.heading == "Delta"
        assert found.text.strip() == "Land that a river builds."
        assert found.first_line <= 3 <= found.last_line
        assert not index.search("secret")


def test_a_changed_file_is_read_again_and_a_deleted_one_forgotten(tmp_path: Path) -> None:
    with FolderIndex(write(tmp_path, a__md="old words", b__md="other")) as index:
        assert index.search("old")
        write(tmp_path, a__md="new and longer words")
        (tmp_path / "b.md").unlink()
        assert not index.search("old")
        assert index.search("new")
        assert not index.search("other")


def test_what_cannot_be_read_is_skipped_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kapelle.knowledge.folder_index.MAX_FILE_BYTES", 100)
    write(tmp_path, good__md="good", large__md="x" * 101)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "zeros.txt").write_bytes(b"a\0b")
    with FolderIndex(tmp_path) as index:
        assert [found.file for found in index.search("good x")] == ["good.md"]
        assert {skipped.file for skipped in index.skipped} == {"binary.txt", "large.md", "zeros.txt"}


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    write(outside, secret__md="the secret")
    write(inside, open__md="nothing hidden")
    os.symlink(outside / "secret.md", inside / "link.md")
    os.symlink(outside, inside / "folder")
    os.symlink(inside / "open.md", inside / "again.md")
    with FolderIndex(inside) as index:
        assert not index.search("secret")
        assert len(index.search("hidden")) == 2
        assert {skipped.file for skipped in index.skipped} == {"link.md", "folder"}


def test_an_index_in_a_file_survives_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder, france__md=NOTE)
    for _ in range(2):
        with FolderIndex(folder, database=tmp_path / "index.sqlite") as index:
            assert len(index.search("Loire")) == 1


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        FolderIndex(tmp_path / "nowhere")


def test_no_query_text_breaks_the_search(tmp_path: Path) -> None:
    with FolderIndex(write(tmp_path, france__md=NOTE)) as index:

        @settings(max_examples=scaled(150, least=15), deadline=None)
        @given(st.text() | st.text(alphabet='"*()^:+-AND OR NOT NEAR text heading', max_size=40))
        def search(query: str) -> None:
            for found in index.search(query):
                assert found.file == "france.md"

        search()
        assert index.search('heading : "Rivers" NOT Loire')  # its words are looked for; its syntax is nothing


@pytest.mark.slow
def test_every_line_of_a_file_is_in_a_passage_or_a_heading(tmp_path: Path) -> None:
    @settings(max_examples=scaled(60, least=15), deadline=None)
    @given(st.lists(st.sampled_from(["", "# T", "## U", "word", "- item", "===", "---", "```", "a b c"]), max_size=15))
    def check(lines: list[str]) -> None:
        folder = tmp_path / "each"
        folder.mkdir(exist_ok=True)
        write(folder, a__md="\n".join([*lines, "zebra"]))
        with FolderIndex(folder) as index:
            found = index.search("zebra")
            assert [one.last_line for one in found] == [len(lines) + 1]

    check()
