"""The report as one self-contained HTML page.

Training text is hostile: the template escapes everything it is given, control characters are
spelled out, and a content security policy lets only this page's own script and style (by their
hashes) run, and nothing load.
"""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report.display import visible_text
from ifguide.report.documents import SHOWN_AT_ONCE, scale_of, shown_document, sources_of
from ifguide.report.figures import STYLE, figure_of_scores, toxicity_bars
from ifguide.report.learning import learning_figures
from ifguide.report.ranked import ranked_documents
from ifguide.report.tables import MEASURES, headlines, measure_of, names_in, report_tables
from ifguide.report.templates import template

# what the script sorts by, "-" for falling, and which counts are to be above 0, "!" for none of it
SORTS = (("rank", "rank"), ("source", "source"), ("-selected", "selected"), ("-marked", "marked"))
KINDS = (
    ("", "all"),
    ("selected", "with selected tokens"),
    ("!selected", "without selected tokens"),
    ("marked", "with marked tokens"),
    ("!marked", "without marked tokens"),
    ("selected !marked", "selected, none marked"),
    ("marked !selected", "marked, none selected"),
)


def render_page(
    report: Report,
    corpus: Corpus,
    scores: TokenScores,
    selection: Selection,
    top: int = 200,
    title: str = "What made the model toxic",
) -> str:
    """The page of a run: tables, figures and the ``top`` documents of the ranking.

    The same arguments give the same page.

    Raises:
        InputError: the scores or the selection belong to another corpus.
    """
    documents = ranked_documents(corpus, scores, selection, top)
    scale = scale_of(documents, selection.threshold)
    has_marks = bool(np.any(corpus.marked))
    models, tables = report.models, report_tables(report)
    return template("page.html").render(
        title=visible_text(title, one_line=True),
        version=report.version,
        fingerprint=report.config_fingerprint[:12],
        headlines=headlines(models),
        tables={table.key: table for table in tables},
        model_names=list(models),
        bars=[
            (name, toxicity_bars(models, measure))
            for measure, name in MEASURES.items()
            if names_in(measure_of(model, measure) for model in models.values())
        ],
        learning=learning_figures(report.training),
        scores_figure=figure_of_scores(corpus, scores, selection),
        has_marks=has_marks,
        cards=(shown_document(document, scale) for document in documents),
        shown_count=len(documents),
        at_once=SHOWN_AT_ONCE,
        sources=sources_of(documents),
        sorts=SORTS[: None if has_marks else -1],
        kinds=KINDS[: None if has_marks else 3],
        ranked_count=len(selection.ranking),
        token_count=int(corpus.has_loss.sum()),
        document_start=[visible_text(name) for name in report.corpus.document_start],
        figure_style=Markup(STYLE),
    )
