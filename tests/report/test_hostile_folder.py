"""A run folder that somebody else made: the page shows it as text, opens nothing outside, and never fails."""

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from PIL import Image
from test_page import embedded, make_run

from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.report.folder import read_run
from genmods.report.page import render, write_report
from genmods.runs.fit import alone
from genmods.runs.folders import status
from genmods.runs.loggers import running

NAMES = [
    "{{data}}<img src=x onerror=document.title=1>",
    "{{ title }}{% raw %}{# x #}",
    "</script><script>document.title=1</script>",
    "<!--<script>",
    "-->]]>",
    "</title><svg onload=alert(1)>",
    "\x1b[2J\u202eabc",
    "'\"&amp;\u2028",
    "\udcff",
]


class Elements(HTMLParser):
    """The elements of a page, with the content of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self.heading, self._inside = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, tuple(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        if self._inside == "h1":
            self.heading += data


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_everywhere(tmp_path, name):
    run = read_run(make_run(tmp_path / "ddpm" / "one"))
    plain = Elements(render([run]))
    run.path = tmp_path / name.replace("/", "|")
    run.recipe_text = f"name: {name}"
    run.series[f"val/{name}"] = [(0, 1.0), (1, 0.5)]
    run.files["confusion"]["class_names"] = [name, name]
    page = Elements(render([run]))
    assert [tag for tag, _ in page.found] == [tag for tag, _ in plain.found]
    assert page.scripts[1] == plain.scripts[1] and page.heading.isprintable()
    data = json.loads(page.scripts[0])
    assert data["runs"][0]["confusion"]["class_names"] == [name, name]
    assert render([run]).encode()


def test_the_policy_lets_the_script_of_the_page_run_and_no_other(tmp_path):
    page = Elements(write_report([make_run(tmp_path / "run")]).read_text())
    (policy,) = [dict(attributes)["content"] for tag, attributes in page.found if ("http-equiv" in dict(attributes))]
    allowed = re.search("script-src ([^;]+)", policy)[1].split()
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert allowed == [f"'sha256-{digest}'"]
    assert "default-src 'none'" in policy and "connect-src" not in policy


@pytest.mark.parametrize("what", ["samples/step_000001.png", "recipe.yaml", "test.json", "metrics.csv", "samples"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path, what):
    folder, secret = make_run(tmp_path / "run"), tmp_path / "elsewhere" / "step_000001.png"
    secret.parent.mkdir()
    Image.new("RGB", (3, 3), (1, 2, 3)).save(secret)
    text = tmp_path / "secret"
    text.write_text('{"test/loss": 0.125}')
    path = folder / what
    if path.is_dir():
        path.rename(tmp_path / "moved")
    path.unlink(missing_ok=True)
    path.symlink_to(secret.parent if what == "samples" else secret if what.endswith("png") else text)
    page = write_report([folder]).read_text()
    assert base64.b64encode(secret.read_bytes()).decode() not in page and "0.125" not in page
    (run,) = embedded(page)["runs"]
    assert [series["name"] for series in run["pictures"]] == (
        [] if what == "samples" else ["grid", "raw", "strip", "features"]
    )


def test_a_run_folder_that_is_a_link_is_read(tmp_path):
    make_run(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_run(tmp_path / "link").series["val/loss"] and (tmp_path / "link").is_symlink()


def _fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


STAGE = '{"images": 1, "data_hash": "a", "figures": {"test/loss": %s}}'
BAD = {
    "an alias bomb": ("recipe.yaml", "a: &a [x, x]\n" + "".join(f"{k}: &{k} [*a, *a]\n" for k in "bcdefgh")),
    "no YAML": ("recipe.yaml", "{{{[\n"),
    "a recipe that is no UTF-8": ("recipe.yaml", b"name: \xff\xfe"),
    "a deep recipe": ("recipe.yaml", "[" * 5000),
    "a list as recipe": ("recipe.yaml", "- 1\n"),
    "JSON of another type": ("timing.json", "[1, 2]"),
    "a timing that is text": ("timing.json", '{"train_seconds": "x"}'),
    "deep JSON": ("environment.json", "[" * 100_000),
    "a deep environment": ("environment.json", '{"a":' * 500 + "1" + "}" * 500),
    "a confusion of another shape": ("confusion.json", '{"step": 1, "class_names": ["a"], "counts": [[1, 2], [3]]}'),
    "a confusion that is null": ("confusion.json", "null"),
    "noise without edges": ("loss_by_noise.json", '{"history": [{"step": 1, "loss": [1]}]}'),
    "figures that are numbers": ("evaluation.json", '{"figures": [1, 2]}'),
    "figures that are none": ("evaluation.json", '{"figures": null}'),
    "a figure that overflows": ("test.json", STAGE % "1e999"),
    "a number of 5000 digits": ("test.json", STAGE % ("9" * 5000)),
    "no PNG": ("samples/step_000005.png", b"GIF89a"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_of_another_shape_is_left_out(tmp_path, case):
    folder = make_run(tmp_path / "run")
    name, content = BAD[case]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (run,) = embedded(write_report([folder]).read_text())["runs"]
    assert run["steps"] == (391 if name == "timing.json" else 400) and run["series"]["val/loss"]


def test_a_pipe_is_not_waited_for(tmp_path):
    folder = make_run(tmp_path / "run")
    for name in ("recipe.yaml", "test.json", "samples/step_000100.png"):
        _fifo(folder / name)
    (run,) = embedded(write_report([folder]).read_text())["runs"]
    assert run["steps"] == 400 and run["recipe"] == ""


TABLES = {
    "a cell of a megabyte": b"step,val/loss\n0,1\n1," + b"9" * 1_000_000 + b"\n",
    "text in a figure": b"step,val/loss\n0,much\n",
}


@pytest.mark.parametrize("case", TABLES)
def test_metrics_that_are_not_a_table_are_one_line(tmp_path, capsys, case):
    make_run(tmp_path / "good")
    folder = make_run(tmp_path / "bad")
    (folder / "metrics.csv").write_bytes(TABLES[case])
    with pytest.raises(UserError, match=r"metrics\.csv") as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    assert dispatch(["runs", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "good" in printed.out and "bad" not in printed.out and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01\xff" * 100,
        b"",
        b"\n",
        b"step\n" + b"1" * 5000 + b"\n",
        b"step,a,a\n0,1,2,3,4\n1\n",
        b"a," * 200_000 + b"\n1\n" * 9,
    ],
    ids=["binary", "empty", "a line feed", "a long step", "ragged", "many columns"],
)
def test_other_metrics_have_no_rows_or_few(tmp_path, content):
    folder = make_run(tmp_path / "run")
    (folder / "metrics.csv").write_bytes(content)
    assert write_report([folder]).is_file()


def test_names_from_files_reach_the_terminal_as_escapes(tmp_path, capsys):
    make_run(tmp_path / "\x1b[2J\nrun")
    assert dispatch(["runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "\x1b" not in printed and "\\x1b[2J\\nrun" in printed


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, '{"step": "x", "state": []}', '{"step": 1e999}', "\0", "{"])
def test_a_status_that_is_none_is_step_0(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    assert status(tmp_path)[1] == 0


def test_a_status_that_is_a_pipe_or_a_link_out_of_the_folder_is_not_read(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    os.mkfifo(run / "status.json")
    assert status(run) == ("None", 0)
    (run / "status.json").unlink()
    (tmp_path / "secret").write_text('{"state": "secret", "step": 7}')
    (run / "status.json").symlink_to(tmp_path / "secret")
    assert status(run) == ("None", 0)


@pytest.mark.parametrize("name", ["checkpoints", "samples", "metrics.csv", "recipe.yaml", "status.json", "wandb"])
def test_a_fit_writes_through_no_link_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{name}: a symbolic link out of the run folder"), alone(folder):
        pass
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", ["recipe.yaml", ".recipe.yaml.{}.part"])
def test_the_recipe_is_written_in_place_of_a_link(tmp_path, name):
    """Also in place of the temporary file, whose name can be guessed."""
    folder, name = tmp_path / "run", name.format(os.getpid())
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / name).symlink_to(tmp_path / "secret")
    recipe = SimpleNamespace(to_yaml=lambda: "name: own\n", plain=lambda: {"data": {}})
    with running(folder, recipe, [], SimpleNamespace(hash="abc", batch_size=4), None, "32-true"):
        pass
    assert (folder / "recipe.yaml").read_text() == "name: own\n" and not (folder / "recipe.yaml").is_symlink()
    assert (tmp_path / "secret").read_text() == "secret" and not list(folder.glob(".recipe*"))


def test_links_within_the_folder_and_to_the_folder_are_followed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "wandb").symlink_to("tracked")
    (folder / "samples").symlink_to("samples")
    (folder / "own").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    with alone(tmp_path / "link"):
        assert (folder / ".lock").is_file()
