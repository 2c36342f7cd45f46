"""The YAML for a first run: what it takes from the files, and that it runs as it is."""

import json
import os

import pytest
import torch
from micro import run
from tiny import tiny_model

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.documents import is_held_out, read_documents
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.tokenizers import load_tokenizer, train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.prompts import prompts_of
from ifguide.settings.reader import read_config
from ifguide.settings.starter import starter_yaml
from ifguide.settings.starter_judges import marked_words

POSTS = builtin_posts(600, seed=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "a checkpoint"
    tokenizer = train_tokenizer((post.text for post in POSTS), 400)
    model = tiny_model("llama", torch.float32, vocab_size=400, max_position_embeddings=96)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def spans_of(post):
    return [list(span) for span in post.spans]


LAYOUTS = {
    "numbers for ids": lambda n, p: {"body": p.text, "toxic_spans": spans_of(p)},
    "texts for ids": lambda n, p: {
        "id": f"post {n}",
        "kind": p.kind,
        "text": p.text,
        "marks": spans_of(p) or None,
    },
    "nested fields": lambda n, p: {
        "post": {"post_id": 7 * n, "words": p.text, "title": "a post"},
        "spans": spans_of(p),
        "scores": [1, 2],
    },
    "ids that all end alike": lambda n, p: {"id": f"{n}z", "text": p.text, "spans": spans_of(p)},
    "odd names": lambda n, p: {'te"xt: #é\t': p.text, "{spans}": spans_of(p)},
}


def posts_file(folder, layout, name="my posts.jsonl"):
    return write(folder / name, [LAYOUTS[layout](n, post) for n, post in enumerate(POSTS)])


def read(folder, *arguments, **options):
    file = folder / "run.yaml"
    file.write_text(starter_yaml(*arguments, **options), encoding="utf-8")
    return read_config(file)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prompts_and_queries_are_not_trained_on(layout, tmp_path, checkpoint):
    config = read(tmp_path, posts_file(tmp_path, layout), str(checkpoint))
    source, folder = config.corpus.sources[0], tmp_path
    documents = list(read_documents(source, folder))
    kept = [d for d in documents if is_held_out(d, source.held_out, config.seed)]
    held_out = {source.name: kept}
    for name, prompts in config.evaluation.prompt_sets.items():
        assert prompts_of(prompts, held_out, folder, config.seed, name)
    trained = {d.id for d in documents} - {d.id for d in kept}
    asked = {d.id for d in read_documents(config.queries.source, folder) if d.spans}
    assert len(asked) >= 30
    assert (asked & trained == set()) == (layout != "ids that all end alike")
    assert load_contrast(config.queries, load_tokenizer(config.tokenizer), folder)
    assert config.corpus.block_length == config.queries.max_length == 96
    assert config.model.path == config.tokenizer.path == str(checkpoint)


@pytest.mark.parametrize("layout", ["numbers for ids", "nested fields"])
def test_the_yaml_runs_as_it_is(layout, tmp_path, checkpoint):
    file = tmp_path / "run.yaml"
    file.write_text(starter_yaml(posts_file(tmp_path, layout), str(checkpoint)), encoding="utf-8")
    quick = ["--evaluation.sampling.samples", "2", "--evaluation.toxic.limit", "2"]
    quick += ["--evaluation.neutral.limit", "2", "--curvature.sample_blocks", "4"]
    assert run("run", file, tmp_path / "run", *quick) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["models"].keys() == {"baseline", "suppressed"}
    assert report["selection"]["selected"] > 0


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (lambda n, p: {"toxic": f"you fool {n}", "safe": "my friend", "prompt": "I say"}, "pairs"),
        (lambda n, p: {"toxic": f"you great old fool {n}", "neutral": "my friend"}, "pairs"),
        (lambda n, p: {"text": p.text, "spans": spans_of(p)}, "marked"),
    ],
)
def test_queries_of_their_own(record, kind, tmp_path, checkpoint):
    plain = [{"text": post.text} for post in POSTS]
    corpus = write(tmp_path / "posts.jsonl", plain)
    (tmp_path / "elsewhere").mkdir()
    records = [record(n, post) for n, post in enumerate(POSTS)]
    queries = write(tmp_path / "elsewhere" / "q.jsonl", records)
    config = read(tmp_path, corpus, str(checkpoint), queries=queries)
    assert config.queries.kind == kind
    assert load_contrast(config.queries, load_tokenizer(config.tokenizer), tmp_path)
    toxic, neutral = config.evaluation.toxic, config.evaluation.neutral
    assert toxic.source.path == config.queries.source.path == "elsewhere/q.jsonl"
    if kind == "marked":
        assert prompts_of(toxic, {}, tmp_path, 0)
    source = config.corpus.sources[0]
    kept = [d for d in read_documents(source, tmp_path) if is_held_out(d, source.held_out, 0)]
    assert prompts_of(neutral, {source.name: kept}, tmp_path, 0, "neutral")


def test_the_judges_are_a_word_list_and_those_that_are_given(tmp_path, checkpoint):
    said = [
        f"I met {n} people, and what a {word} one was"
        for n in range(150)
        for word in ("Fool", "king")
    ]
    marks = [
        [[text.index("Fool"), text.index("Fool") + 4]] if "Fool" in text else [] for text in said
    ]
    records = [{"text": text, "spans": spans} for text, spans in zip(said, marks, strict=True)]
    file = write(tmp_path / "posts.jsonl", records)
    out = tmp_path / "of it" / "my.yaml"
    out.parent.mkdir()
    words = ["init", "--corpus", str(file), "--model", str(checkpoint), "--out", str(out)]
    assert main(words) == 0
    assert out.with_name("my.words.txt").read_text(encoding="utf-8") == "fool\n"
    config = read_config(out)
    assert config.evaluation.judges == (f"words:{out.with_name('my.words.txt')}",)
    judge = load_judge(config.evaluation.judges[0], tmp_path)
    assert judge(["What a fool!", "A calm river."]).tolist() == [1.0, 0.0]
    assert "hf:NAME#LABEL" in out.read_text(encoding="utf-8")
    assert main(words) == 2  # neither file is written over
    assert main([*words, "--replace", "--judges", "hf:me/judge#toxic", "rule"]) == 0
    assert read_config(out).evaluation.judges[1:] == ("hf:me/judge#toxic", "rule")
    assert "hf:NAME" not in out.read_text(encoding="utf-8")
    assert main([*words, "--replace", "--judges", "nobody"]) == 2


def test_without_marks_the_judge_is_rule(tmp_path, checkpoint):
    assert marked_words([("a calm river", []), ("one fool", [(4, 8)])]) == []
    text = starter_yaml(posts_file(tmp_path, "numbers for ids"), str(checkpoint))
    assert 'judges: ["rule"]' in text
    assert "words:FILE" in text


def test_a_name_on_the_hub_is_taken_as_it_is(tmp_path):
    file = posts_file(tmp_path, "numbers for ids")
    config = read(tmp_path, file, "EleutherAI/pythia-160m")
    assert config.model.path == config.tokenizer.path == "EleutherAI/pythia-160m"
    assert config.corpus.block_length == 256


def config_json(folder, text):
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(text)
    return str(folder)


def test_a_config_that_says_no_positions_bounds_nothing(tmp_path):
    file = posts_file(tmp_path, "numbers for ids")
    for number, text in enumerate(["{}", "[]", '{"n_positions": "many"}', '{"n_positions": -1}']):
        model = config_json(tmp_path / str(number), text)
        assert read(tmp_path, file, model).corpus.block_length == 256
    model = config_json(tmp_path / "gpt2", '{"n_positions": 64}')
    assert read(tmp_path, file, model).corpus.block_length == 64


def refused(*arguments, **options):
    with pytest.raises(InputError) as error:
        starter_yaml(*arguments, **options)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"text": "a b c d"}], "no field holds marked spans, [[start, end], ...]; mark what is"),
        ([{"text": "a b", "spans": [[0, 9]]}], "no field holds marked spans"),
        ([{"text": "a b", "spans": [[0.0, 1.0]]}], "no field holds marked spans"),
        ([{"text": "a b", "spans": []}], "no field holds marked spans"),
        ([{"n": 3, "spans": [[0, 1]]}], "no field holds text in each of the first 1 records"),
        ([{"text": "a"}, {"text": None}], "no field holds text in each of the first 2 records"),
        ([{"id": 1, "text": "a"}, {"id": 1, "text": "b"}], "the field 'id' does not tell its"),
        ([{"text": "a", "spans": [[0, 1]]}], "too few posts of 3 words and more"),
        ([], "the file is empty; fill it"),
    ],
)
def test_a_corpus_that_lacks_something_is_refused_in_one_line(records, said, tmp_path, checkpoint):
    file = write(tmp_path / "posts.jsonl", records)
    line = refused(file, str(checkpoint))
    assert line.startswith(f"{file}: ")
    assert said in line


def test_other_things_that_cannot_be_used(tmp_path, checkpoint):
    file = posts_file(tmp_path, "numbers for ids")
    os.mkfifo(tmp_path / "pipe")
    bare = tmp_path / "bare"
    bare.mkdir()
    broken = config_json(tmp_path / "broken", "[" * 100_000)
    assert "no such file or folder" in refused(tmp_path / "nothing.jsonl", str(checkpoint))
    assert "a pipe or a device" in refused(tmp_path / "pipe", str(checkpoint))
    assert "is no folder; give a checkpoint's" in refused(file, str(tmp_path / "nothing"))
    assert "is no folder; give a checkpoint's" in refused(file, "a\nb")
    assert "holds no tokenizer.json" in refused(file, str(bare))
    assert "has no config.json that can be read" in refused(file, broken)
    queries = write(tmp_path / "q.jsonl", [{"text": "a b"}])
    assert "neither marked spans" in refused(file, str(checkpoint), queries=queries)
