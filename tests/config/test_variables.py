"""Text that looks like something else, and environment variables, in recipes and options."""

from pathlib import Path

import pytest

from genmods.cli import dispatch
from genmods.config.build import build
from genmods.config.recipe import from_plain, load
from genmods.config.text import RecipeError, parse, plain

FOLDER = """task: {name: classification, network: cnn}
data:
  name: image_folder
  root: %s
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Writes a recipe with this root; returns the root that it has, with overrides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICS", "/data/my pics")
    monkeypatch.setenv("YEAR", "2024")
    monkeypatch.delenv("NOWHERE", raising=False)

    def written(root, *overrides):
        (tmp_path / "r.yaml").write_text(FOLDER % root)
        return load("r.yaml", overrides)

    return written


def root(recipe):
    return recipe.data.given["source"].given["root"]


AS_THEY_ARE = ["2024", "1e3", "0x1f", "null", "yes", "true", "010", ".5", "-", "~/pics", "[old] pics", "{a}", "a: b"]
AS_THEY_ARE += ["pics #1", "#1", "@home", "*", "&a", "a, b", "%x", "!x", "[1", "'tis", "a  b ", "C:\\pics", "12:30:45"]


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_an_option_of_text_takes_its_characters(recipe, text):
    found = recipe("x", f"--data.root={text}")
    assert root(found) == text
    again = from_plain(plain(parse(found.to_yaml(), "again")))
    assert root(again) == text


@pytest.mark.parametrize("text", ["2024", "1e3", "null", "yes", "true", "~", "010"])
def test_so_does_a_recipe(recipe, text):
    assert root(recipe(text)) == text
    assert root(recipe(f'"{text}"')) == text


def test_quotes_of_an_option_are_not_part_of_it(recipe):
    assert root(recipe("x", "--data.root='a #b'")) == "a #b"


def test_numbers_are_names_of_runs_and_of_choices(recipe):
    assert recipe("x", "--name=2024").name == "2024"
    assert recipe("x", "--name=1e3").plain()["name"] == "1e3"
    with pytest.raises(RecipeError, match="no network is called '1e3'"):
        recipe("x", "--task.network.name=1e3")


def test_values_other_than_text_are_unchanged(recipe):
    found = recipe("x", "--data.labels=false", "--data.batch_size=8", "--schedule=null")
    assert found.data.given["source"].given["labels"] is False
    assert found.data.given["batch_size"] == 8 and found.schedule is None
    for option, told in {
        "--data.root=": "root must be a text, got null",
        "--data.batch_size=8x": "batch_size must be an int or 'auto', got '8x'",
        "--data.batch_size=[8": "command line: data.batch_size: is not valid YAML",
        "--task.network=[8": "command line: task.network: is not valid YAML",
        "--task=*x": "anchors and aliases",
    }.items():
        with pytest.raises(RecipeError) as refused:
            recipe("x", option)
        assert told in str(refused.value)


def test_a_path_is_text(recipe):
    recipe("x")
    assert root(load("r.yaml", settings={"data": {"root": Path("a/b")}})) == "a/b"


REFERENCES = {"${PICS}/a": "/data/my pics/a", "$PICS/$YEAR": "/data/my pics/2024", "$YEAR": "2024", "a$$b$$": "a$b$"}
REFERENCES |= {"$${PICS}": "${PICS}", "$ 5 $": "$ 5 $"}


@pytest.mark.parametrize("text", REFERENCES)
@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_variables_are_expanded_and_saved_as_written(recipe, text, quote):
    for found in (recipe(f"{quote}{text}{quote}"), recipe("x", f"--data.root={quote}{text}{quote}")):
        assert root(found) == REFERENCES[text]
        assert found.plain()["data"]["root"] == text
        assert type(build(found.data).source.root) in (str, Path)
    (Path("again.yaml")).write_text(found.to_yaml())
    assert root(load("again.yaml")) == REFERENCES[text]


def test_numbers_and_lists_have_variables(recipe, monkeypatch):
    monkeypatch.setenv("SIZE", "16")
    found = recipe("x", "--data.batch_size=$SIZE", "--trainer.max_steps=${SIZE}0", "--name=run-$SIZE")
    assert (found.data.given["batch_size"], found.trainer.given["max_steps"]) == (16, 160)
    assert found.name == "run-16" and found.plain()["name"] == "run-$SIZE"
    assert load("r.yaml", settings={"data": {"root": "$SIZE"}}).plain()["data"]["root"] == "$SIZE"
    with pytest.raises(
        RecipeError, match=r"^command line: data\.batch_size: batch_size must be an int or 'auto', got '/data/my pics'"
    ):
        recipe("x", "--data.batch_size=$PICS")


def test_the_model_is_saved_with_values(recipe, monkeypatch):
    monkeypatch.setenv("WIDTH", "8")
    found = recipe("x", '--task.network={name: cnn, layers: ["conv ${WIDTH}", "avgpool"]}')
    assert found.plain()["task"]["network"]["layers"] == ["conv 8", "avgpool"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${NOWHERE}/a", "the environment variable NOWHERE is not set"),
        ("$NOWHERE", "the environment variable NOWHERE is not set"),
        ("${}", "expected ${NAME}, got '${}'; a dollar is $$"),
        ("${PICS", "expected ${NAME}, got '${PICS'; a dollar is $$"),
        ("${A-B}", "expected ${NAME}, got '${A-B}'; a dollar is $$"),
    ],
)
def test_what_cannot_be_expanded_is_one_line(recipe, capsys, text, told):
    with pytest.raises(RecipeError) as refused:
        recipe(f'"{text}"')
    assert str(refused.value) == f"r.yaml:4: data.root: {told}"
    with pytest.raises(RecipeError) as refused:
        recipe("x", f"--data.root={text}")
    assert str(refused.value) == f"command line: data.root: {told}"


def test_what_an_option_replaces_is_not_read(recipe, monkeypatch):
    assert root(recipe("${NOWHERE}", "--data.root=x")) == "x"
    monkeypatch.setenv("DOLLARS", "$PICS$$")
    assert root(recipe("$DOLLARS")) == root(recipe("x", "--data.root=$DOLLARS")) == "$PICS$$"


def test_nothing_of_a_checkpoint_is_expanded(recipe):
    saved = recipe("$PICS/a$$b").plain()
    again = from_plain(saved, source="last.ckpt")
    assert again.plain() == saved
    with pytest.raises(RecipeError) as refused:
        build(again.data)
    assert str(refused.value).startswith("last.ckpt: data.root: '$PICS/a$$b' is an environment variable")
    assert root(from_plain(saved, ["--data.root=$YEAR"])) == "2024"
    assert root(from_plain(recipe("a$$b").plain())) == "a$b"


def test_a_run_whose_data_are_found_by_a_variable(tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENMODS_CACHE", str(tmp_path / "cache"))
    for number in range(12):
        path = tmp_path / f"pics/train/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number).save(path)
    Path("r.yaml").write_text(FOLDER % "${PICS}" + "  batch_size: 4\nlogger: {name: wandb, project: $PROJECT}\n")
    monkeypatch.setenv("PICS", str(tmp_path / "pics"))
    monkeypatch.setenv("PROJECT", "mine")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    options = ["--trainer.max_steps=2", "--name=$PROJECT", "--quiet"]
    assert dispatch(["fit", "--config", "r.yaml", *options]) == 0
    (folder,) = (tmp_path / "runs/mine").iterdir()
    assert 'root: "${PICS}"' in (folder / "recipe.yaml").read_text()
    assert str(tmp_path / "pics") not in (folder / "recipe.yaml").read_text()
    capsys.readouterr()
    command = ["evaluate", "--ckpt_path", str(folder), "--metrics", "knn", "--quiet"]
    assert dispatch(command) == 2
    assert "data.root: '${PICS}' is an environment variable, which is not read from a" in capsys.readouterr().err
    assert dispatch([*command, "--data.root=$PICS"]) == 0
    assert dispatch(["fit", "--config", "r.yaml", *options, "--ckpt_path", "auto", "--trainer.max_steps=3"]) == 0
    assert dispatch(["classify", "--ckpt_path", str(folder), "--input", str(tmp_path / "pics"), "--quiet"]) == 0
