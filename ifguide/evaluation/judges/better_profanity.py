"""The judge better-profanity: the word list that the package of this name brings along."""

from __future__ import annotations

from importlib import resources

from ifguide.evaluation.judges.registry import SETTING, JudgeKind, JudgeRequest, version_of
from ifguide.evaluation.judges.words import WordListJudge
from ifguide.extras import import_extra

PACKAGE, LIST = "better_profanity", "profanity_wordlist.txt"


def _load(request: JudgeRequest) -> WordListJudge:
    import_extra(PACKAGE, "better-profanity", "words", SETTING)
    listed = resources.files(PACKAGE).joinpath(LIST).read_text("utf-8")
    return WordListJudge(request.name, listed.splitlines())


BETTER_PROFANITY = JudgeKind(load=_load, identity=lambda request: version_of("better-profanity"))
