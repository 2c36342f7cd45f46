"""Made conversations whose assistant says what people marked: the data of ``chat.yaml``.

    python examples/conversations.py DIR [--posts FILE --spans FIELD] [--count 200]

DIR gets ``chat.jsonl``, conversations of two or four messages with the marked characters of each
message in its field ``toxic_spans``; ``queries.jsonl``, the same of other posts; and
``posts.jsonl``, further posts as plain texts, for prompts. The assistant's messages are posts: of
FILE (JSON Lines with the fields text and FIELD), or of the built-in corpus.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.nouns import Document

ASKED = (
    "What did somebody write about this online?",
    "Give me a comment that you have read.",
    "How would a reader answer to that?",
    "Quote the next one.",
    "What else do people say?",
)


def conversations(posts: Sequence[Document], count: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield records of conversations; every other one goes on for a second answer."""
    draw, answers = random.Random(seed), iter(posts)
    for number in range(count):
        messages: list[dict[str, object]] = []
        for _ in range(1 + number % 2):
            post = next(answers)
            messages.append({"role": "user", "content": draw.choice(ASKED)})
            spans = [list(span) for span in post.spans]
            answer = {"role": "assistant", "content": post.text, "toxic_spans": spans}
            messages.append(answer)
        yield {"id": f"chat-{number:05d}", "messages": messages}


def write(folder: Path, posts: Sequence[Document], count: int) -> None:
    """Write the three files; the posts are shared out among them in order."""
    asked = max(1, count // 2)
    used, more = count + count // 2, asked + asked // 2
    parts = {
        "chat": conversations(posts[:used], count, 0),
        "queries": conversations(posts[used : used + more], asked, 1),
        "posts": (
            {"id": post.id, "text": post.text, "toxic_spans": [list(s) for s in post.spans]}
            for post in posts[used + more :]
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in parts.items():
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200, help="conversations (default 200)")
    parser.add_argument("--posts", type=Path, help="posts instead of the built-in ones")
    parser.add_argument("--spans", default="toxic_spans", help="field of their marked characters")
    parsed = parser.parse_args(arguments)
    needed = 3 * parsed.count
    if parsed.posts is None:
        posts = builtin_posts(needed, seed=7)
    else:
        source = Source(path=str(parsed.posts.resolve()), spans=parsed.spans, limit=needed)
        posts = list(read_documents(source, Path()))
    if len(posts) < needed:
        parser.error(f"--count {parsed.count} needs {needed} posts, and there are {len(posts)}")
    write(parsed.folder, posts, parsed.count)


if __name__ == "__main__":
    main()
