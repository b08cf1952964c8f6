"""What an evaluation gathers for the Cityscapes scores, against counts of label ids that void is part of."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segbench.core.errors import MissingFault
from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec
from segbench.data.classes import class_table
from segbench.engine import evaluate as module
from segbench.engine.evaluate import Evaluation, evaluate, predict
from segbench.engine.instances import Benchmark, label_ids
from segbench.engine.runtime import Runtime
from segbench.metrics.cityscapes import CityscapesScores, LabelIds, Tallies, cityscapes_scores
from segbench.metrics.instances import count_image
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.data.official.cityscapes import arrays, frames
from tests.engine.tiny import model

Array = NDArray[Any]
DATA = DataSpec(name="cityscapes")
SPEC = EvaluationSpec(data=DATA)
TABLE = class_table("cityscapes")
FRAMES = [frame for split, frame in frames() if split != "test"][:3]
IIOU = {"iiou", "category_iiou"}


class Streets:
    """Tiny Cityscapes images with their instance maps."""

    def __len__(self) -> int:
        return len(FRAMES)

    def key(self, index: int) -> str:
        return f"val/{FRAMES[index]}"

    def read(self, index: int) -> tuple[Array, Array]:
        image, ids, _ = arrays(FRAMES[index])
        return image, TABLE.to_train_ids(ids)

    def instances(self, index: int) -> Array | None:
        return arrays(FRAMES[index])[2].astype(np.int32)


@pytest.fixture(scope="module")
def labels() -> LabelIds:
    found = label_ids(DATA, TABLE)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def network() -> Segmentor:
    torch.manual_seed(3)
    return build_segmentor(model(), num_classes=19).eval()


def run(network: Segmentor, images: Any, labels: LabelIds | None) -> Evaluation:
    return evaluate(network, images, SPEC, input=InputSpec(), runtime=Runtime(), labels=labels)


def expected(network: Segmentor, labels: LabelIds) -> CityscapesScores:
    """The scores of written label ids, as the benchmark's server gets them."""
    tallies = []
    for frame in FRAMES:
        image, ids, instances = arrays(frame)
        with torch.inference_mode():
            pixels = torch.tensor(image).permute(2, 0, 1)[None]
            found = predict(network, pixels, SPEC, input=InputSpec(), size=ids.shape, runtime=Runtime())[0].numpy()
        written = np.array(labels.train_ids)[found].astype(np.uint8)
        tallies.append(count_image(ids, written, instances.astype(np.int32), labels))
    return cityscapes_scores(Tallies.join(tallies), labels)


def test_scores_are_those_of_written_label_ids(network: Segmentor, labels: LabelIds) -> None:
    result, own = run(network, Streets(), labels), expected(network, labels)
    figures = result.figures(absent="exclude")
    for name, mean in own.means(absent="exclude").items():
        assert figures[name] == pytest.approx(100 * mean, rel=1e-12)
    parts = result.benchmark_scores()
    assert parts.keys() == {"class_iiou", "category_iou", "category_iiou"}
    for name, score in {**own.class_iiou, **own.category_iiou}.items():
        assert {**parts["class_iiou"], **parts["category_iiou"]}[name] == pytest.approx(100 * score, rel=1e-12)
    assert parts["category_iou"] == pytest.approx({name: 100 * score for name, score in own.category_iou.items()})
    assert np.count_nonzero(result.matrix.sum(0)) > 3, "the network predicts several classes"


def test_everything_follows_from_the_counts_kept(network: Segmentor, labels: LabelIds) -> None:
    result = run(network, Streets(), labels)
    counts = result.counts()
    assert np.array_equal(counts["matrices"].sum(0), result.matrix)
    assert counts["matrices"].shape == (3, 19, 19)
    assert all(values.dtype == np.int64 for values in counts.values())
    sizes = {value: np.count_nonzero(arrays(FRAMES[1])[2] == value) for value in (24000, 26000, 33000)}
    kept = {row[1]: row[2] for row in counts["instances"].tolist() if row[0] == 1}
    assert {value: kept[value] for value in sizes} == sizes
    assert 29000 not in kept, "caravans are not scored"
    again = Benchmark(labels, counts["matrices"], counts["instances"])
    assert again.figures(absent="zero").items() <= result.figures(absent="zero").items()
    assert again.by_name() == result.benchmark_scores()


@pytest.mark.parametrize("threads", [1, 4])
def test_reading_ahead_keeps_maps_with_their_images(
    network: Segmentor, labels: LabelIds, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(network, Streets(), labels)
    read = module._read_ahead
    monkeypatch.setattr(module, "_read_ahead", lambda images, workers: read(images, workers=threads))
    ahead = run(network, Streets(), labels)
    assert np.array_equal(ahead.counts()["instances"], plain.counts()["instances"])


def test_without_every_map_there_is_no_iiou(network: Segmentor, labels: LabelIds) -> None:
    class Partly(Streets):
        def instances(self, index: int) -> Array | None:
            return None if index == 1 else super().instances(index)

    class Plain:
        __len__, key, read = Streets.__len__, Streets.key, Streets.read

    whole = run(network, Streets(), labels).figures(absent="exclude")
    for images in (Partly(), Plain()):
        result = run(network, images, labels)
        assert result.figures(absent="exclude") == {name: whole[name] for name in whole.keys() - IIOU}
        assert result.benchmark_scores().keys() == {"category_iou"}
        assert "instances" not in result.counts()


def test_an_undefined_average_is_left_out(network: Segmentor, labels: LabelIds) -> None:
    class Empty(Streets):
        def read(self, index: int) -> tuple[Array, Array]:
            image, label = super().read(index)
            return image, np.full_like(label, 255)

        def instances(self, index: int) -> Array | None:
            return np.zeros((32, 64), np.int32)

    result = run(network, Empty(), labels)
    assert not {"category_miou", *IIOU} & result.figures(absent="exclude").keys()
    assert set(result.benchmark_scores()["class_iiou"].values()) == {None}
    assert result.figures(absent="one")["category_iiou"] == 100


def test_nothing_is_gathered_unasked(network: Segmentor, labels: LabelIds) -> None:
    result = run(network, Streets(), None)
    assert result.benchmark is None and result.benchmark_scores() == {}
    assert "matrices" not in result.counts()
    assert np.array_equal(result.matrix, run(network, Streets(), labels).matrix)


def test_faulty_maps_are_named(network: Segmentor, labels: LabelIds) -> None:
    class Cut(Streets):
        def instances(self, index: int) -> Array | None:
            whole = super().instances(index)
            assert whole is not None
            return whole[:, :-1] if index == 2 else whole

    class Wild(Streets):
        def instances(self, index: int) -> Array | None:
            return np.full((32, 64), 7003, np.int32)

    with pytest.raises(MissingFault, match=f"val/{FRAMES[2]}: its instance map is 32x63 but its label 32x64"):
        run(network, Cut(), labels)
    with pytest.raises(MissingFault, match=f"val/{FRAMES[0]}: instance values 7003"):
        run(network, Wild(), labels)


def test_only_a_benchmark_of_the_very_classes(labels: LabelIds) -> None:
    assert label_ids(DataSpec(name="camvid"), class_table("camvid")) is None
    assert label_ids(DATA, class_table("cityscapes-20")) is None
    assert label_ids(DataSpec(name="gta5"), TABLE) is None, "its own benchmark has no categories"
    assert [labels.names[label] for label in labels.train_ids] == list(TABLE.names)
