import pytest
import torch
import yaml
from ggufs import tiny_model, tokenizer_of, write_gguf
from micro import settings

from ifguide.commands.main import main
from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import encode, load_tokenizer
from ifguide.errors import InputError
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, load_model, model_fingerprint

TEXT = "The cat did not sit; the dog sat 12 times."
IDS = torch.arange(40)[None]


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_of()


def gguf_of(folder, tokenizer, family="llama", kind="F32"):
    """A GGUF file, and the model that is in it."""
    model = tiny_model(family, len(tokenizer))
    write_gguf(folder / "tiny.gguf", model, tokenizer, kind)
    return folder / "tiny.gguf", model


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_gguf_file_gives_the_model_that_was_written(tmp_path, tokenizer, family):
    file, written = gguf_of(tmp_path, tokenizer, family)
    given = ModelConfig(gguf=str(file))
    loaded = load_model(given, load_tokenizer(TokenizerConfig(gguf=str(file))), 64, seed=0)
    torch.testing.assert_close(logits(loaded), logits(written))
    beside = ModelConfig(path=str(tmp_path), gguf="tiny.gguf")
    torch.testing.assert_close(logits(load_model(beside, tokenizer, 64, 0)), logits(loaded))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_quantised_weights_train_and_are_saved_as_plain_ones(tmp_path, tokenizer, family):
    file, written = gguf_of(tmp_path, tokenizer, family, "Q8_0")
    model = load_model(ModelConfig(gguf=str(file)), tokenizer, 64, seed=0)
    torch.testing.assert_close(logits(model), logits(written), rtol=0.1, atol=0.3)
    before = logits(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(IDS, labels=IDS).loss.backward()
    optimizer.step()
    assert not torch.equal(logits(model), before)
    model.save_pretrained(tmp_path / "saved")
    again = load_checkpoint(tmp_path / "saved")
    assert torch.equal(logits(again), logits(model))
    assert not hasattr(again.config, "quantization_config")


def test_its_tokenizer_is_the_one_that_was_written(tmp_path, tokenizer):
    gguf_of(tmp_path, tokenizer)
    found = load_tokenizer(TokenizerConfig(path=str(tmp_path), gguf="tiny.gguf"))
    (cut,), (wanted,) = encode(found, [TEXT]), encode(tokenizer, [TEXT])
    assert cut.tokens.tolist() == wanted.tokens.tolist()
    assert found.eos_token_id == tokenizer.eos_token_id


def test_a_run_fine_tunes_a_gguf_file(tmp_path, tokenizer, monkeypatch, capfd):
    gguf_of(tmp_path, tokenizer, kind="Q8_0")
    changed = settings(tokenizer={"gguf": "tiny.gguf"}, model={"gguf": "tiny.gguf"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert main(["run", "run.yaml", "--out", "out", "--quiet"]) == 0
    assert capfd.readouterr().err == ""
    monkeypatch.chdir(out)  # config.yaml names the file in full
    assert main(["run", "config.yaml", "--out", str(out), "--quiet"]) == 0
    assert (out / "report" / "report.json").is_file()
    trained = load_checkpoint(out / "train")
    assert torch.isfinite(logits(trained)).all()


def test_the_content_of_the_file_counts(tmp_path, tokenizer):
    file, model = gguf_of(tmp_path, tokenizer)
    before = model_fingerprint(ModelConfig(gguf=str(file)))
    assert model_fingerprint(ModelConfig(gguf=str(file))) == before
    with torch.no_grad():
        model.model.norm.weight += 1
    write_gguf(file, model, tokenizer)
    assert model_fingerprint(ModelConfig(gguf=str(file))) != before


@pytest.mark.parametrize("length", [0, 3, 100, 5_000, -100])
def test_a_file_cut_short_is_one_line(tmp_path, tokenizer, length):
    file, _ = gguf_of(tmp_path, tokenizer)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InputError, match=r"^model\.gguf: '.*tiny\.gguf'"):
        load_model(ModelConfig(gguf=str(file)), tokenizer, 64, seed=0)


def test_another_file_is_no_tokenizer(tmp_path):
    (tmp_path / "a.gguf").write_text("none", encoding="utf-8")
    with pytest.raises(InputError, match=r"^tokenizer\.gguf: '.*a\.gguf': cannot be loaded"):
        load_tokenizer(TokenizerConfig(gguf=str(tmp_path / "a.gguf")))


def test_a_missing_file_is_refused_before_work_starts(tmp_path, refused):
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump(settings(model={"gguf": "none.gguf"})), encoding="utf-8"
    )
    out = tmp_path / "out"
    said = refused("run", tmp_path / "run.yaml", "--out", out, "--quiet")
    assert "none.gguf' is no file; give a .gguf file" in said
    assert not (out / "corpus").exists()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"gguf": "a.gguf", "trust_remote_code": True}, "model.trust_remote_code: true would be"),
        ({"gguf": "a.gguf", "revision": "v1"}, "model.revision: 'v1' would be ignored"),
        ({"gguf": "a.gguf", "scratch": {"model_type": "llama"}}, "both is set"),
    ],
)
def test_settings_that_a_file_does_not_read_are_refused(given, line):
    with pytest.raises(InputError, match=line):
        ModelConfig(**given)
