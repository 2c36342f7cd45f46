"""The page's code, as it stands there, and the files that it says are left."""

import re

from pages import ROOT

PAGE = (ROOT / "docs" / "beyond_one_machine.md").read_text(encoding="utf-8")


def test_the_page_s_code_makes_what_the_page_lists(many, finished, tmp_path, monkeypatch):
    many.write_documents(tmp_path / "texts", 6, 6)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(code, "beyond_one_machine.md", "exec"), {"__name__": "page"})
    rows = re.findall(r"^\| `(\S+)` \| (all|1) \| .*?\| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 7
    for pipeline, tasks, left in rows:
        marks = list((tmp_path / "out" / "logs" / pipeline / "completions").iterdir())
        assert len(marks) == (6 if tasks == "all" else 1)
        names = re.findall(r"`((?:blocks|scores|tallies|selection|mask)/\S+)`", left)
        assert names
        for name in names:
            assert (tmp_path / "out" / name.replace("RANK", "00003")).exists(), name
