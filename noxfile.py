"""Checks of the project: `nox -s tests`, `nox -s lint`; `nox -l` lists all of them."""

import glob
import json
import pathlib
import shutil

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
WORKERS = ["-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"]
# Many tests start processes that import torch: without bytecode on disk each of them compiles it again.
SUITE = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite; arguments go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *WORKERS, *session.posargs, env=SUITE)


@nox.session(name="tests-all", python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """The test suite on every Python of pyproject.toml."""
    tests.func(session)


@nox.session(python=PYTHONS[0], venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The test suite with the lowest versions that pyproject.toml allows."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run("pytest", *WORKERS, *session.posargs, env=SUITE)


@nox.session
def torture(session: nox.Session) -> None:
    """Long checks, scripts of tests/torture; arguments name them, by default all, and options go to the attacks."""
    session.install("-e", ".[test]")
    scripts = {path.stem: path for path in sorted(pathlib.Path("tests/torture").glob("*.py"))}
    names = [word for word in session.posargs if word in scripts] or list(scripts)
    options = [word for word in session.posargs if word not in scripts]
    attacks = [name for name in names if "support.torture" in scripts[name].read_text()]
    environment = {**SUITE, "PYTHONPATH": "tests"}
    for name in (name for name in names if name not in attacks):
        session.run("python", str(scripts[name]), env=environment)
    if attacks:
        session.run("python", "-m", "support.torture", *attacks, *options, env=environment)


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the installed dependencies; skipped if no database answers."""
    session.install(".", "pip-audit")
    out = pathlib.Path(session.create_tmp(), "audit.json")
    out.unlink(missing_ok=True)
    options = ["--local", "--progress-spinner=off", "--format=json", f"--output={out}"]
    session.run("pip-audit", *options, success_codes=[0, 1])
    found = json.loads(out.read_text())["dependencies"] if out.is_file() else []
    audited = [each for each in found if "skip_reason" not in each]  # pip-audit succeeds also if no name is known
    if not audited:
        session.skip("no database of vulnerabilities answers here")
    session.log(f"{len(audited)} dependencies audited, {len(found) - len(audited)} unknown to the database")
    if vulnerable := [each["name"] for each in audited if each["vulns"]]:
        session.error(f"vulnerable: {', '.join(vulnerable)}")


@nox.session
def sbom(session: nox.Session) -> None:
    """The bill of materials of the package and its dependencies, CycloneDX JSON: `sbom.json`, or the path given."""
    session.install(".", "cyclonedx-bom")
    out = session.posargs[0] if session.posargs else "sbom.json"
    session.run("cyclonedx-py", "environment", "--output-format", "JSON", "--output-file", out)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".", "ruff", "mypy", "types-PyYAML")
    session.run("ruff", "check", "src", "tests", "benchmarks", "noxfile.py")
    session.run("ruff", "format", "--check", "src", "tests", "benchmarks", "noxfile.py")
    session.run("mypy")


@nox.session(reuse_venv=False)
def build(session: nox.Session) -> None:
    """Source distribution and wheel; the wheel, in a clean environment and an empty folder, trains and uses models."""
    session.install("build", "twine")
    out = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", out)
    files = glob.glob(f"{out}/*.whl") + glob.glob(f"{out}/*.tar.gz")
    session.run("twine", "check", *files)
    session.install(*glob.glob(f"{out}/*.whl"))
    session.chdir(out)
    short = ["--trainer.max_steps=5", "--logger=csv", "--quiet"]
    for command in (
        ["recipes"],
        ["fit", "--config", "ddpm", *short],
        ["generate", "--ckpt_path", "last", "--n", "4", "--out", "samples"],
        ["fit", "--config", "cnn", *short],
        ["classify", "--ckpt_path", "last", "--input", "samples", "--out", "classes.csv"],
        ["export", "--ckpt_path", "last", "--out", "cnn.safetensors"],
    ):
        session.run("python", "-m", "genmods", *command)
    session.run("python", "-m", "genmods", "report", *glob.glob("runs/cnn/*"), "--out", "report.html")


@nox.session
def browser(session: nox.Session) -> None:
    """The report in headless Chromium, with screenshots in `screenshots/`; arguments are run folders to show."""
    if shutil.which("chromium") is None:
        session.skip("there is no chromium here: apt-get install chromium")
    session.install("-e", ".[test]")
    environment = {"GENMODS_SCREENSHOTS": "screenshots", "GENMODS_RUNS": " ".join(session.posargs)}
    session.run("pytest", "tests/report/test_browser.py", env=environment)


@nox.session
def play(session: nox.Session) -> None:
    """The playground in headless Chromium, each use clicked through, with screenshots in `screenshots/`."""
    if shutil.which("chromium") is None:
        session.skip("there is no chromium here: apt-get install chromium")
    session.install("-e", ".[play,test]")
    environment = {**SUITE, "GENMODS_PLAY": "1", "GENMODS_SCREENSHOTS": "screenshots"}
    session.run("pytest", "tests/play", env=environment)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in docs/_build/html: runs its guide; broken links and undocumented names fail it."""
    session.install("-e", ".[docs,test]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)
    environment = {"GENMODS_SITE": "docs/_build/html", "GENMODS_SCREENSHOTS": "screenshots"}
    session.run("pytest", "tests/docs", env=environment)


@nox.session
def bench(session: nox.Session) -> None:
    """Measurements beside the peers, in one run; needs hours, arguments name the benchmarks."""
    session.install("-e", ".[bench]")
    session.run("python", "benchmarks/run.py", *session.posargs)
