"""Models and tokenizers that settings name by a relative path lie in data_dir, wherever one is."""

import pytest
from micro import run, settings, write_settings

from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.settings.config import Config
from ifguide.settings.places import in_full
from ifguide.settings.reader import checked


@pytest.fixture
def data(tmp_path):
    """A data folder with a tokenizer in it, ``mine``."""
    folder = tmp_path / "data"
    tokenizer = train_tokenizer((post.text for post in builtin_posts(60)), 400)
    tokenizer.save_pretrained(folder / "mine")
    return folder


def test_a_run_finds_its_tokenizer_from_any_working_directory(data, tmp_path, monkeypatch):
    config = write_settings(tmp_path, data_dir=str(data), tokenizer={"path": "mine"})
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        assert run("corpus", config, tmp_path / "run") == 0
    kept = tmp_path / "run" / "config.yaml"
    assert run("corpus", kept, tmp_path / "again") == 0


def test_a_folder_of_the_working_directory_alone_is_refused(data, tmp_path, monkeypatch, refused):
    config = write_settings(tmp_path, data_dir=str(tmp_path), tokenizer={"path": "mine"})
    monkeypatch.chdir(data)
    line = refused("corpus", config, "--out", tmp_path / "run")
    assert "tokenizer.path: 'mine' is a folder of the working directory, and relative" in line
    assert not (tmp_path / "run" / "corpus").exists()


def read(plain):
    return in_full(checked(Config, settings(**plain)))


@pytest.mark.parametrize("setting", ["model", "tokenizer", "compare__proxy"])
def test_names_on_the_hub_and_whole_paths_stay_as_they_are(setting, data):
    def placed(**named):
        section = read({setting: named, "data_dir": str(data)})
        for name in setting.split("__"):
            section = getattr(section, name)
        return section

    for name in ("gpt2", "org/name", str(data / "mine")):
        assert placed(path=name).path == name
    assert placed(path="mine").path == str(data / "mine")
    assert placed(gguf="a.gguf").gguf == str(data / "a.gguf")
    inside = placed(path="mine", gguf="a.gguf")
    assert (inside.path, inside.gguf) == (str(data / "mine"), "a.gguf")


def test_the_message_names_the_setting(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^compare\.proxy\.path: 'there' is a folder of the work"):
        read({"compare": {"proxy": {"path": "there"}}, "data_dir": str(tmp_path / "data")})
