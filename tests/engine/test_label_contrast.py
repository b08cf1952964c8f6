"""Pre-training and fine-tuning, stopped anywhere."""

from pathlib import Path

import pytest

from segbench.checkpoints.weights_file import load_weights
from segbench.core.errors import Interrupted
from segbench.core.spec import Choice, StageSpec
from segbench.engine.folder import BEST, LAST
from segbench.engine.inputs import StageInputs
from tests.engine.tiny import EVERY_STEP, after, last, same, stage, train


def pretraining(**options: object) -> StageSpec:
    method = Choice(name="label-contrast", options={"embedding_dim": 8, "resize_size": [8, 16], **options})
    return stage(steps=5, validate_every=2).model_copy(update={"method": method})


@pytest.mark.parametrize("options", [{}, {"loss": "cross", "form": "released", "projection_norm": "batch"}])
def test_stopped_anywhere_it_ends_with_the_same_weights(tmp_path: Path, options: dict[str, object]) -> None:
    train(pretraining(**options), tmp_path / "straight")
    for calls in (1, 2):
        with pytest.raises(Interrupted):
            train(pretraining(**options), tmp_path / "halves", stop=after(calls), save=EVERY_STEP)
    train(pretraining(**options), tmp_path / "halves")
    assert same(last(tmp_path / "halves"), last(tmp_path / "straight"))


def test_nothing_validates_an_untrained_classifier(tmp_path: Path) -> None:
    summary = train(pretraining(), tmp_path)
    assert summary.best is None and summary.last is None and not (tmp_path / BEST).exists()


def test_fine_tuning_starts_from_the_network_with_a_fresh_classifier(tmp_path: Path) -> None:
    """The classifier of the pre-training is the one that the seed initialised."""
    train(pretraining(), tmp_path / "first")
    weights = load_weights(tmp_path / "first" / LAST)[1]
    train(
        stage(steps=1).model_copy(
            update={"schedule": pretraining().schedule.model_copy(update={"steps": 1, "validate_every": None})}
        ),
        tmp_path / "plain",
    )
    untouched = [name for name in weights if "classifier" in name]
    assert untouched
    # One step of a rate of 0 begins with these weights, bit by bit.
    still = stage(steps=1, lr=1e-12)
    tuned = still.model_copy(update={"starts_from": "pretrain"})
    train(tuned, tmp_path / "second", inputs=StageInputs(weights=tmp_path / "first" / LAST))
    train(still, tmp_path / "scratch")
    found, scratch = last(tmp_path / "second"), last(tmp_path / "scratch")
    for name in untouched:
        assert abs(found[name] - scratch[name]).max() < 1e-9, name
    moved = [
        name for name in weights if name.endswith("conv1.weight") and abs(found[name] - scratch[name]).max() > 1e-4
    ]
    assert moved
