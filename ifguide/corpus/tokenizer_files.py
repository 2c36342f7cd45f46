"""The files that decide a tokenizer, listed without loading it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.gguf_files import gguf_file

READ = (  # by ``AutoTokenizer``: vocabularies have other names in every family
    "tokenizer*",
    "*.tokenizer",
    "vocab*",
    "merges*",
    "*.json",
    "*.txt",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "*.bpe",
    "*.codes",
    "*.jinja",
    "*.py",
)
# of the model that lies beside it, and of no tokenizer
OTHERS = ("*.safetensors", "*.index.json", "generation_config.json", "trainer_state.json")


def tokenizer_files(config: TokenizerConfig) -> list[Path]:
    """Return the files of a local folder that ``load_tokenizer`` may read, in sorted order.

    Of a GGUF file it is that file. There are none for a name on the hub, and none for a tokenizer
    that is trained on the corpus.

    Raises:
        InputError: there is no such GGUF file.
    """
    if config.gguf is not None:
        held = gguf_file(config.path, config.gguf, "tokenizer.gguf")
        return [] if held is None else [held]
    folder = Path(config.path or "").expanduser()
    if not config.path or not folder.is_dir():
        return []
    files = [file for file in sorted(folder.iterdir()) if decides(file.name)]
    templates = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    return [file for file in [*files, *templates] if file.is_file()]


def decides(name: str, patterns: tuple[str, ...] = READ) -> bool:
    """Whether a tokenizer may read a file of this name."""
    read, other = (
        any(fnmatchcase(name, pattern) for pattern in them) for them in (patterns, OTHERS)
    )
    return read and not other
