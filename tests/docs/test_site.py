"""The site: guides run as notebooks, every block runs or says why not, and the build is strict."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

jupytext = pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
zensical = shutil.which("zensical", path=str(Path(sys.executable).parent))

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GUIDES = [
    page for page in sorted((DOCS / "guides").glob("*.md")) if "```python" in page.read_text()
]
ELSEWHERE = {  # pages whose blocks other tests run, or are no code
    "around-a-run.md",
    "beyond_one_machine.md",
    "design.md",
    "extending.md",
    "masks.md",
    "sources.md",
    "your_own_trainer.md",
}
BLOCK = re.compile(r"^(?:(<!-- not run: .+ -->)\n)?```(sh|python)\n", re.MULTILINE)


@pytest.fixture(scope="module")
def site():
    sys.path.insert(0, str(DOCS))
    try:
        import site_pages
    finally:
        sys.path.remove(str(DOCS))
    return site_pages


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_runs_as_a_notebook_and_shows_what_it_made(page, site, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    copy = Path(shutil.copy(page, tmp_path))
    site.run_guide(copy)
    shown = copy.read_text()
    assert '<div class="ifguide">' in shown
    assert "Traceback" not in shown
    for words in re.findall(r"^!ifguide .*", page.read_text(), re.MULTILINE):
        after = shown.partition(words)[2]
        assert "ifguide: error" not in after.partition("```python")[0], words
    assert copy.with_suffix(".ipynb").is_file()


def test_every_block_runs_or_says_why_not():
    for page in PAGES:
        if page.name in ELSEWHERE:
            continue
        for reason, language in BLOCK.findall(page.read_text()):
            runs = language == "python" and page in GUIDES
            assert runs != bool(reason), (page.name, language)


def built(tmp_path):
    """Whether the site of the folder's pages builds, and what the builder says."""
    config = (ROOT / "zensical.toml").read_text().replace("build/docs", "pages")
    config = config.replace("build/site", "site").replace('["."]', f'["{ROOT}"]')
    file = tmp_path / "zensical.toml"
    file.write_text(config)
    done = subprocess.run(
        [zensical, "build", "--strict", "--config-file", file],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    return done.returncode == 0, re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)


@pytest.mark.skipif(zensical is None, reason="zensical is not installed")
def test_the_site_builds_without_a_warning_and_a_broken_link_is_one(tmp_path):
    folder = tmp_path / "pages"
    subprocess.run(
        [sys.executable, DOCS / "site_pages.py", folder, "--no-run"], check=True, cwd=tmp_path
    )
    ok, said = built(tmp_path)
    assert ok, said
    shown = (tmp_path / "site" / "reference" / "settings" / "index.html").read_text()
    assert "selection.budget" in shown
    api = (tmp_path / "site" / "reference" / "api" / "index.html").read_text()
    assert "suppression_loss" in api
    (folder / "limits.md").write_text("[a page](nowhere.md)\n")
    ok, said = built(tmp_path)
    assert not ok
    assert "limits.md" in said
