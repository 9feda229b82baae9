"""The progress of reading many images, which only a terminal shows."""

from genmods.data.reading import listed


def test_nothing_is_written_to_a_file(capfd):
    assert listed(range(2000), 2000, "reading") == list(range(2000))
    assert capfd.readouterr() == ("", "")
