from ifguide.evaluation.graders import Grading, grading


def test_judges_that_only_grade_are_independent() -> None:
    labelled = {"the pairs of DPO": "hatesonar", "the reward of RAD": "hatesonar"}
    found = grading(labelled, ["alt-profanity-check", "toxigen-roberta"])
    assert found == Grading(labelled, ("alt-profanity-check", "toxigen-roberta"), ())


def test_a_judge_that_labelled_is_named_with_what_it_labelled() -> None:
    labelled = {"the pairs of DPO": "hatesonar", "the reward of RAD": "hatesonar", "x": "rule"}
    (warning,) = grading(labelled, ["alt-profanity-check", "hatesonar"]).warnings
    assert warning == (
        "judge 'hatesonar' labelled the pairs of DPO and the reward of RAD and grades the samples "
        "too: its figures favour what it labelled; compare by alt-profanity-check"
    )


def test_no_judge_is_left() -> None:
    found = grading({"the pairs": "rule", "the reward": "hatesonar"}, ["rule", "hatesonar"])
    assert len(found.warnings) == 2
    assert all(line.endswith("; add another judge") for line in found.warnings)


def test_names_of_the_same_model() -> None:
    same = ["toxigen-roberta", "hf:tomh/toxigen_roberta#0", "hf:tomh/toxigen_roberta"]
    for judge in same:
        assert len(grading({"labels": same[0]}, [judge]).warnings) == 1
    assert grading({"labels": "hf:a/b"}, ["hf:a/c", "detoxify:b"]).warnings == ()
    assert grading({}, ["rule"]).warnings == ()
