"""The playground's server in this process: every use of an exact model and of a classifier, and who may ask."""

import asyncio
import base64
import io
import socket
import threading

import pytest
import torch
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from genmods import UserError
from genmods.cli import dispatch
from genmods.core.safetensors import load as read_safetensors
from genmods.data.images import to_float
from genmods.data.preparation import Preparation
from genmods.data.sources.digits import Digits
from genmods.models import Classifier
from genmods.networks import CNN
from genmods.play import pictures
from genmods.play.library import BUNDLED, Entry, Library
from genmods.play.server import PAGES, application
from genmods.play.uses import USES, uses_of
from genmods.play.worker import Busy, Worker
from support.gaussian_model import STD, draw, gaussian_model

SIDE = 4
LOCAL = {"base_url": "http://127.0.0.1:7860"}


def classifier():
    torch.manual_seed(0)
    network = CNN(layers=("conv 4", "pool 2", "linear 8"), num_classes=3, image_size=SIDE)
    return Classifier(network, num_classes=3, image_size=SIDE, class_names=["a", "b", "c"]).eval()


@pytest.fixture(scope="module")
def library():
    library = Library(["one"])
    for name, model in (("gaussian", gaussian_model(SIDE).float()), ("judge", classifier())):
        model.preparation = Preparation((SIDE, SIDE), 1, levels=256)
        library.entries.append(Entry(name, model.requires_grad_(False), uses_of(model)))
    library.ready = True
    library.start = lambda: None
    return library


@pytest.fixture(scope="module")
def client(library):
    with TestClient(application(library), **LOCAL) as client:
        yield client


@pytest.fixture(scope="module")
def picture():
    return pictures.png(draw(1, SIDE)[0].clamp(-1, 1))


def ask(client, use, model=0, status=200, **fields):
    response = client.post(f"/api/{use}", json={"model": model, **fields})
    assert response.status_code == status, response.text
    return response.json()


def tensor(source):
    """A picture of an answer as an image [H, W] in [-1, 1]."""
    image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("L")
    return to_float(torch.tensor(list(image.getdata()), dtype=torch.uint8)).view(image.height, image.width)


def test_the_page_and_its_files_come_from_here_only(client):
    page = client.get("/")
    assert page.status_code == 200 and "playground" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "http" not in policy and "unsafe" not in policy
    for path in PAGES.iterdir():
        text = path.read_text()
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", "").replace("http:%27", "")
        if path.name != "index.html":
            assert client.get(f"/{path.name}").text == text
    assert client.get("/server.py").status_code == 404 and client.get("/../server.py").status_code == 404


def test_the_state_lists_models_and_their_uses(client):
    state = client.get("/api/state").json()
    first, second = state["models"]
    assert state["ready"] and state["faults"] == [] and state["jobs"] == 0
    assert first["uses"] == ["classify", "look", "noise", "inpaint", "interpolate", "generate"]
    assert second["uses"] == ["classify", "look"] and second["classes"] == ["a", "b", "c"]
    assert "unipc" in first["samplers"] and not {"flow_ode", "mean_flow", "consistency"} & set(first["samplers"])
    assert first["guided"] and not second["guided"]


def test_a_classifier_and_a_diffusion_model_classify(client, library, picture):
    found = ask(client, "classify", 1, image=picture)
    shown = tensor(found["input"])[None, None]
    wanted = library.entries[1].model.probabilities(shown)[0]
    assert [c["name"] for c in found["classes"]] == ["a", "b", "c"]
    assert [c["probability"] for c in found["classes"]] == pytest.approx(wanted.tolist(), abs=1e-5)
    bright = pictures.png(torch.full((1, SIDE, SIDE), 0.6))
    probabilities = [c["probability"] for c in ask(client, "classify", 0, image=bright)["classes"]]
    assert probabilities[2] > 0.9 and sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_feature_maps_and_grad_cam(client, picture):
    found = ask(client, "look", 1, image=picture)
    assert [len(layer["maps"]) for layer in found["layers"]] == [min(8, layer["shape"][0]) for layer in found["layers"]]
    assert found["cam"].startswith("data:image/png") and found["cam_of"] in "abc"
    assert "cam" not in ask(client, "look", 0, image=picture)


def test_noise_is_added_and_the_estimate_is_that_of_the_model(client, picture):
    clean, noisy = (ask(client, "noise", image=picture, sigma=sigma) for sigma in (0.01, 20.0))
    torch.testing.assert_close(tensor(clean["estimate"]), tensor(picture), rtol=0, atol=0.05)
    assert clean["error"] < 0.02 < noisy["error"] and noisy["log_snr"] < 0 < clean["log_snr"]
    assert tensor(noisy["estimate"]).abs().max() < 0.1, "the mean of the data"
    labelled = ask(client, "noise", image=picture, sigma=20.0, label="2")
    assert tensor(labelled["estimate"]).mean() == pytest.approx(0.3, abs=0.05)


def test_only_the_painted_part_is_filled(client, picture):
    mask = torch.full((1, SIDE, SIDE), -1.0)
    mask[:, :2] = 1
    found = ask(client, "inpaint", image=picture, mask=pictures.png(mask), steps=8)
    given = tensor(picture)
    fillings = torch.stack([tensor(one) for one in found["fillings"]])
    assert torch.equal(fillings[:, 2:], given[2:].expand(4, -1, -1))
    assert (
        fillings[:, :2].std(0).mean() == pytest.approx(found["mean_spread"], rel=0.1) and found["mean_spread"] > STD / 3
    )
    assert "paint a part" in ask(client, "inpaint", image=picture, mask=pictures.png(mask * 0 - 1), status=400)["error"]


def test_the_reverse_process_has_a_frame_per_call(client, library):
    fields = {"sampler": "ddim", "steps": 5, "seed": 3, "n": 2, "label": "0"}
    found = ask(client, "generate", **fields)
    assert len(found["frames"]) == 5
    sigma = [frame["sigma"] for frame in found["frames"]]
    assert sigma == sorted(sigma, reverse=True) and sigma[0] > 50
    drawn = library.entries[0].model.sample(2, {"label": "0"}, seed=3, sampler="ddim", steps=5)
    torch.testing.assert_close(tensor(found["samples"][1]), drawn[1, 0], rtol=0, atol=1.01 / 255)
    assert ask(client, "generate", guidance=3.0, **fields)["samples"] != found["samples"]


def test_the_ends_between_two_pictures_are_the_pictures(client, picture):
    second = pictures.png(draw(1, SIDE, seed=7)[0].clamp(-1, 1))
    frames = ask(client, "interpolate", image=picture, second=second, frames=3)["frames"]
    for frame, wanted in ((frames[0], picture), (frames[2], second)):
        torch.testing.assert_close(tensor(frame), tensor(wanted), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("use", "fields", "message"),
    [
        ("noise", {"sigma": 0.5}, "image: a picture is required"),
        ("noise", {"sigma": "much", "image": ""}, "image: expected a data URL of an image"),
        ("classify", {"image": "data:image/png;base64,AAAA"}, "image: cannot be read as an image"),
        ("generate", {"steps": 0}, "steps must lie in [1, 200], got 0"),
        ("generate", {"steps": 2.5}, "steps must be an integer, got 2.5"),
        ("generate", {"seed": True}, "seed must be a number, got True"),
        ("generate", {"sampler": "unipx"}, "sampler: unknown name 'unipx'; did you mean 'unipc'?"),
        ("generate", {"label": "9"}, "label: unknown name '9'"),
        ("generate", {"model": 5}, "there is no such model"),
        ("generate", {"model": "x"}, "model must be the number of a model, got 'x'"),
        ("generate", {"model": 1}, "judge cannot be used to generate"),
        ("forget", {}, "there is no use 'forget'"),
    ],
)
def test_mistakes_are_answered_in_one_line(client, use, fields, message):
    answer = ask(client, use, status=400, **fields)
    assert message in answer["error"] and "\n" not in answer["error"]


def test_a_use_that_fails_is_answered_and_the_next_one_works(client, monkeypatch):
    def failing(*given):
        raise RuntimeError("out of\nmemory")

    with monkeypatch.context() as patch:
        patch.setitem(USES, "generate", failing)
        assert ask(client, "generate", status=500)["error"] == "RuntimeError: out of memory"
    assert ask(client, "generate", n=1, steps=2)["samples"]


def test_only_json_of_this_machine_is_accepted(client):
    assert client.post("/api/generate", content="model=0").status_code == 415
    assert client.post("/api/generate", content="{", headers={"Content-Type": "application/json"}).status_code == 400
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:1"}).status_code == 200
    large = client.post("/api/generate", content=b" " * 9_000_000, headers={"Content-Type": "application/json"})
    assert large.status_code == 413


def test_without_the_token_nothing_is_served(library):
    with TestClient(application(library, "secret"), base_url="http://box:7860") as client:
        for path in ("/", "/play.js", "/api/state", "/?token=", "/?token=secreu"):
            assert client.get(path).status_code == 401
        assert client.post("/api/generate", json={}).status_code == 401
        assert client.get("/api/state", headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.get("/?token=secret", follow_redirects=False).status_code == 303
        assert client.get("/").status_code == 200, "by the cookie"
        assert client.post("/api/generate", json={"n": 1}).status_code == 200


def test_jobs_wait_for_each_other_in_order():
    async def run():
        worker, done, gate = Worker(limit=3), [], threading.Event()
        jobs = [asyncio.ensure_future(worker.run(lambda: gate.wait(10) and done.append(0)))]
        jobs += [asyncio.ensure_future(worker.run(lambda k=k: done.append(k))) for k in (1, 2)]
        await asyncio.sleep(0)
        assert worker.jobs == 3 and done == []
        with pytest.raises(Busy, match="3 requests are waiting"):
            await worker.run(lambda: None)
        gate.set()
        await asyncio.gather(*jobs)
        assert done == [0, 1, 2] and worker.jobs == 0
        worker.stop()
        with pytest.raises(UserError, match="was stopped"):
            worker.progress(1, 2)

    asyncio.run(run())


def test_the_page_is_served_while_models_are_loaded_and_when_they_cannot_be(tmp_path):
    library = Library([str(tmp_path / "gone")])
    library.start = lambda: None
    with TestClient(application(library), **LOCAL) as client:
        assert client.get("/").status_code == 200 and not client.get("/api/state").json()["ready"]
        assert ask(client, "generate", status=400)["error"] == "the model is being loaded"
        library.load()
        state = client.get("/api/state").json()
        assert state["ready"] and state["faults"] == [f"{tmp_path / 'gone'}: no such checkpoint or run folder"]


def test_a_page_is_ready_only_with_all_models(library):
    """Models that are added while the state is computed leave it unready."""

    class Growing(Entry):
        def about(self):
            growing.ready = True
            return super().about()

    growing = Library(["one", "two"], [Growing(**vars(library.entries[1]))])
    growing.start = lambda: None
    with TestClient(application(growing), **LOCAL) as client:
        assert not client.get("/api/state").json()["ready"]
        assert client.get("/api/state").json()["ready"]


def test_the_bundled_models_are_small_and_good():
    library = Library([])
    library.load()
    assert library.faults == [] and [entry.name for entry in library.entries] == list(BUNDLED)
    assert sum(path.stat().st_size for path in BUNDLED.values()) < 1_000_000
    for path in BUNDLED.values():
        _, weights = read_safetensors(path)
        assert {w.dtype for w in weights.values() if w.is_floating_point()} == {torch.float16}
    diffusion, judge = (entry.model for entry in library.entries)
    found = judge.probabilities(diffusion.sample(100)).argmax(1)
    assert (found == torch.arange(100) % 10).float().mean() > 0.9
    digits = Digits().read()["train"]
    right = judge.probabilities(to_float(digits.pixels[:300], 17)).argmax(1) == digits.labels[:300]
    assert right.float().mean() > 0.97


def test_a_drawing_is_framed_like_the_data():
    page = torch.full((1, 100, 100), -1.0)
    page[:, 40:80, 20:30] = 1
    framed = pictures.centered(pictures.decoded(pictures.png(page)))
    assert framed.size == (40, 40) and framed.convert("L").getbbox()[3] == 40
    empty = pictures.decoded(pictures.png(page * 0 - 1))
    assert pictures.centered(empty) is empty


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone/run"], "gone/run: no such checkpoint or run folder"),
        (["--port", "70000"], "--port must lie in [0, 65535]"),
    ],
)
def test_the_command_refuses_in_one_line(words, message, capsys):
    assert dispatch(["play", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_printed_address_accepts_requests_at_once(monkeypatch, capsys):
    uvicorn, seen = pytest.importorskip("uvicorn"), []

    def run(server, sockets):
        port = int(capsys.readouterr().out.split("/\n")[0].rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert dispatch(["play", "--port", str(port)]) == 2
        seen.append(capsys.readouterr().err)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    assert dispatch(["play", "--port", "0"]) == 0
    assert "address already in use; --port 0 takes a free one" in seen[0] and seen[0].count("\n") == 1
