"""Settings are data: what stands in them is never imported, made or run."""

import sys

import pytest
from micro import write_settings

from ifguide.attacks.config import AttackConfig
from ifguide.errors import InputError
from ifguide.settings.reader import read_config, with_overrides

OBJECTS = [
    {"class_path": "tabnanny.NannyNag", "init_args": {"lineno": 1, "msg": "", "line": ""}},
    {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "made"]}},
    "tabnanny.NannyNag",
]


@pytest.mark.parametrize("value", OBJECTS)
@pytest.mark.parametrize("place", [lambda v: v, lambda v: [v], lambda v: {"deeper": [v]}])
def test_a_class_path_below_an_untyped_setting_stays_data(value, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scratch = {"model_type": "llama", "hidden_size": place(value)}
    file = write_settings(tmp_path, model__scratch=scratch, compare={"proxy": {"scratch": scratch}})
    config = read_config(file)
    assert config.model.scratch == config.compare.proxy.scratch == scratch
    assert "tabnanny" not in sys.modules
    assert not (tmp_path / "made").exists()


def test_overrides_that_name_a_class_are_data_too(tmp_path):
    file = write_settings(tmp_path)
    option = ["--model.scratch.hidden_size", "{class_path: tabnanny.NannyNag}"]
    config = read_config(file, option)
    assert config.model.scratch["hidden_size"] == {"class_path": "tabnanny.NannyNag"}
    with pytest.raises(InputError, match=r"command line: gcg.steps: .* is not a whole number"):
        with_overrides(AttackConfig(), ["--gcg.steps", "{class_path: tabnanny.NannyNag}"])
    assert "tabnanny" not in sys.modules
