"""Labels that a stage's network gives to images for a later stage: a label set, written once."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from segbench.checkpoints.weights_file import build_from_weights
from segbench.core.errors import Interrupted
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import DataSpec
from segbench.data import label_sets
from segbench.data.colour import normalise
from segbench.data.dataset import SegDataset
from segbench.data.label_sets import LabelSet, Provenance
from segbench.data.open import open_dataset
from segbench.data.prepared.folder import CacheUse
from segbench.data.subsets import seeded

from .predict import eval_mode
from .runtime import Runtime


def make_label_set(
    weights: Path,
    data: DataSpec,
    *,
    stage: str,
    training: str,
    seed: int,
    runtime: Runtime,
    data_root: Path | None = None,
    cache: CacheUse = "use",
    observer: Observer = SILENT,
) -> Path:
    """Label the images of a spec with a network, or return at once if that is done.

    Whole images at a single scale; where the softmax of the best class is below the spec's threshold there is no label.
    A run that was stopped goes on with the images that are left.

    Args:
        weights: file of the network, in the folder of its stage, below which the set is written.
        data: images to label; its ``labels_from`` names the stage.
        stage: name of the stage.
        training: id of the stages up to it.
        seed: of the training, which a draw of labelled images may depend on.
        runtime: device and precision.
        data_root: folder of all data sets.
        cache: use of prepared images.
        observer: receives the progress, and is polled for a stop request between images.

    Returns:
        Folder of the label set.

    Raises:
        InvalidFault: a set is there that was made of other images, classes or weights.
        MissingFault: an image or a file of the set is missing.
        Interrupted: a stop was requested; finished labels are kept.
        RunFault: the disk is full.
    """
    data = seeded(data, seed)
    folder = label_sets.set_folder(weights.parent, data)
    images = open_dataset(data.without_labels_from(), root=data_root, cache=cache, observer=observer.phase("prepare"))
    keys = [images.key(index) for index in range(len(images))]
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    made_by = Provenance(
        training, stage, sha256, label_sets.described(data), images.classes.name, tuple(images.classes.names),
        data.labels_threshold,
    )  # fmt: skip
    if (folder / label_sets.MANIFEST).is_file():
        label_sets.require_fits(label_sets.open_label_set(folder), made_by, keys)
        return folder
    found = _label(weights, images, folder, made_by, runtime, observer)
    label_sets.write_manifest(found)
    observer.note(f"{stage}: {len(keys):,} images labelled, {100 * found.kept:.1f} % of their pixels")
    return folder


def _label(
    weights: Path, images: SegDataset, folder: Path, made_by: Provenance, runtime: Runtime, observer: Observer
) -> LabelSet:
    network, header = build_from_weights(weights)
    runtime.place(network)
    count = observer.counter(f"{made_by.stage}: label", "images")
    total = np.zeros(network.num_classes + 1, np.int64)
    files: dict[str, str] = {}
    with eval_mode(network, runtime), torch.inference_mode(), runtime.autocast():
        for index in range(len(images)):
            if observer.stop_requested():
                raise Interrupted(f"{index:,} of {len(images):,} images are labelled.", next="the same command again")
            key = images.key(index)
            path = label_sets.label_file(folder, key)
            if path.is_file():  # of this very network, by a run that was stopped
                files[key] = hashlib.sha256(path.read_bytes()).hexdigest()
                labels = label_sets.read_labels(path, next=f"rm {path}, and type the same command again")
            else:
                pixels = torch.tensor(images.read(index)[0]).to(runtime.device).permute(2, 0, 1)[None].float() / 255
                logits = network(normalise(pixels, header.model.input)).logits
                size = (pixels.shape[-2], pixels.shape[-1])
                confidence, classes = network.resize(logits, size).softmax(1).max(1)
                if made_by.threshold is not None:
                    classes = classes.masked_fill(confidence < made_by.threshold, 255)
                labels = classes[0].to(torch.uint8).cpu().numpy()
                files[key] = label_sets.write_labels(path, labels)
            total += label_sets.tally(labels, network.num_classes)
            count(index + 1, len(images))
    labelled = int(total[:-1].sum())
    shares = (total[:-1] / max(1, labelled)).tolist()
    return LabelSet(folder, made_by, files, shares, labelled / max(1, int(total.sum())))
