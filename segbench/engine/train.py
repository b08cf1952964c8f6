"""The training loop: one, straight, for every method."""

import contextlib
import math
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch

from segbench.checkpoints import training_state, weights_file
from segbench.checkpoints.backbone_weights import load_backbone_weights
from segbench.checkpoints.loading import load_strictly
from segbench.core import atomic, support
from segbench.core.errors import Interrupted, InvalidFault, RunFault
from segbench.core.spec import DataSpec, EvaluationSpec, StageSpec, StreamSpec
from segbench.data.batch import Batch
from segbench.data.dataset import SegDataset
from segbench.data.facts import facts
from segbench.data.loader import DeviceTransform, TrainingBatches
from segbench.data.open import open_dataset
from segbench.data.prepared.folder import CacheUse
from segbench.data.subsets import seeded
from segbench.methods.base import Method
from segbench.methods.build import build_method

from .clock import StepClock
from .evaluate import evaluate
from .folder import BEST, LAST, STATE, SUMMARY, Summary, alone, read_summary
from .gathering import gather
from .labelled import note_labelled
from .losses import LossMeter, require_finite
from .micro_batch import backward
from .optim import build_optimizer, learning_rate, set_learning_rate
from .progress import Observer, Progress, Silent, watching
from .runtime import Runtime

__all__ = ["BEST", "LAST", "STATE", "SUMMARY", "Summary", "read_summary", "train_stage"]

REPORT_SECONDS = 1.0
AGAIN = "the same command goes on from there"


def train_stage(
    stage: StageSpec,
    folder: Path,
    *,
    training: str,
    seed: int,
    runtime: Runtime,
    data_root: Path | None = None,
    start: Path | None = None,
    cache: CacheUse = "make",
    observer: Observer | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Train one stage, or go on with it, or return at once if it is done.

    Args:
        stage: what to train.
        folder: where its files lie; nobody else writes there.
        training: id written into the weights' header.
        seed: of every random draw.
        runtime: the machine.
        data_root: folder of all data sets.
        start: weights of an earlier stage.
        cache: whether images are prepared first, see ``open_dataset``; no number depends on it.
        observer: told about progress.
        stop: asked after every step and every validation image; True saves and raises.

    Raises:
        Interrupted: ``stop`` said so; the state is saved.
        RunFault: non-finite loss or weights, disk full, or another process trains here. Resumable.
        InvalidFault: the stage asks for what is not built yet, or its saved state does not fit.
        MissingFault: data or weights are missing.
    """
    _check_supported(stage)
    with alone(folder, training):
        done = read_summary(folder)
        if done is not None:
            return done
        run = _Run(stage, folder, training, seed, runtime, data_root, observer or Silent(), stop, cache)
        run.prepare(start)
        return run.loop()


class _Run:
    """State of one pass through the loop."""

    def __init__(
        self,
        stage: StageSpec,
        folder: Path,
        training: str,
        seed: int,
        runtime: Runtime,
        data_root: Path | None,
        observer: Observer,
        stop: Callable[[], bool],
        cache: CacheUse = "make",
    ) -> None:
        self.stage, self.folder, self.training, self.seed = stage, folder, training, seed
        self.runtime, self.data_root, self.observer, self.stop = runtime, data_root, observer, stop
        self.cache = cache
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self.weights: dict[str, Any] = {}
        self.losses = LossMeter()
        self.clock = StepClock(runtime)
        self.reported = (0, 0.0)  # step and time

    def prepare(self, start: Path | None) -> None:
        """Build the method from the seed, then load the start or the saved state over it."""
        self.runtime.apply()
        torch.manual_seed(self.seed)
        self.data = {name: self._open(stream.data, self.cache) for name, stream in self.stage.streams.items()}
        self.classes = next(iter(self.data.values())).classes
        self.method: Method = build_method(self.stage, num_classes=self.classes.num_classes, seed=self.seed)
        segmentor = self.method.predictor()
        state = training_state.load_state(self.folder / STATE)
        note_labelled(self.stage, self.folder, self.data, seed=self.seed, goes_on=state is not None)
        if state is None and start is not None:
            load_strictly(segmentor, weights_file.load_weights(start)[1], source=start.name)
        elif state is None:
            wanted = self.stage.weights
            report = load_backbone_weights(
                segmentor.backbone, self.stage.model.backbone, weights=wanted.backbone, file=wanted.file
            )
            if report is not None:
                self.weights = {"source": report.source, "sha256": report.sha256, "tensors": report.matched}
        self.runtime.place(self.method)
        self.optimizer = build_optimizer(self.stage.schedule.optimizer, self.method, fused=self.runtime.fuses)
        if state is not None:
            self._restore(state)
        self.runtime.prepare_network(self.method.segmentor)
        self.validation = self._open_validation()

    def loop(self) -> Summary:
        """Train until the last step."""
        self.method.train()
        saved = time.perf_counter()
        self.reported = self.step, saved
        with contextlib.closing(self._batches()) as batches:
            while True:
                if self._is_due():  # first of all, as a run may have been stopped before its validation
                    self._measure()
                    saved = time.perf_counter()
                if self.step == self.stage.schedule.steps:
                    return self._finish()
                self._train_step(next(batches))
                now = time.perf_counter()
                stopping = self.stop() and self.step < self.stage.schedule.steps
                saving = stopping or now - saved >= self.runtime.checkpoint_seconds
                if saving or now - self.reported[1] >= REPORT_SECONDS or self._is_due():
                    self._report()
                if saving:
                    self._save()
                    saved = time.perf_counter()
                    self.reported = self.step, saved
                if stopping:
                    raise Interrupted(f"Saved at step {self.step:,}.", next=AGAIN)

    def _train_step(self, batches: dict[str, Batch]) -> None:
        """One step; nothing here waits for the device."""
        set_learning_rate(self.optimizer, self._lr(self.step))
        with self.clock.step():
            names, losses = backward(self.method, batches, step=self.step, parts=self.stage.parts, runtime=self.runtime)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.method.after_step(self.step)
        self.losses.add(names, losses, step=self.step)
        self.step += 1

    def _lr(self, step: int) -> float:
        schedule = self.stage.schedule
        return learning_rate(schedule.policy, schedule.optimizer.lr, step=step, steps=schedule.steps)

    def _batches(self) -> Generator[dict[str, Batch], None, None]:
        """Batches of every stream from the current step on: a function of seed and step alone."""
        with contextlib.ExitStack() as stack:
            loaders, finishers = {}, {}
            for name, stream in self.stage.streams.items():
                loader = TrainingBatches(
                    stream,
                    self.data[name],
                    seed=self.seed,
                    input=self.stage.model.input,
                    stream=name,
                    start_step=self.step,
                    num_workers=self.runtime.workers,
                    pin_memory=self.runtime.is_cuda,
                    observer=watching(self.observer, self.stop),
                )
                loaders[name] = stack.enter_context(loader)
                finishers[name] = DeviceTransform(
                    stream.augmentation,
                    batch_total=stream.batch_total,
                    input=self.stage.model.input,
                    device=self.runtime.device,
                    seed=self.seed,
                    stream=name,
                    channels_last=self.runtime.channels_last,
                )
            while True:
                yield {name: finishers[name](next(loader)) for name, loader in loaders.items()}

    def _report(self) -> None:
        """Wait for the device, check the losses, and tell of the steps since the last report.

        Raises:
            RunFault: a loss was not finite.
        """
        losses = self.losses.fetch()
        self.clock.fetch()  # the losses have waited for the device
        (step, since), now = self.reported, time.perf_counter()
        self.seconds += now - since
        images = sum(stream.batch_total for stream in self.stage.streams.values())
        steps = self.stage.schedule.steps
        self.observer.report(
            Progress(
                "train",
                self.step,
                steps,
                losses,
                self._lr(self.step - 1),
                (self.step - step) * images / max(now - since, 1e-9),
                self.runtime.peak_memory_bytes(),
                (steps - self.step) * self.seconds / self.step,
                self.curve[-1].get("miou") if self.curve else None,
            )
        )
        self.reported = self.step, time.perf_counter()

    def _is_due(self) -> bool:
        """Whether the curve lacks a point at this step."""
        every, steps = self.stage.schedule.validate_every, self.stage.schedule.steps
        falls = self.step == steps or (every is not None and self.step % every == 0)
        return self.step > 0 and falls and not (self.curve and self.curve[-1]["step"] == self.step)

    def _measure(self) -> None:
        """Add a point to the curve, with the validation's score if there is one; keep state and best weights."""
        miou = self._evaluate()
        point = {"step": float(self.step), "lr": self._lr(self.step - 1)}
        point |= {f"loss_{name}": value for name, value in self.losses.take().items()}
        better = False
        if miou is not None:
            if math.isfinite(miou):  # else nothing in the split is labelled
                point["miou"] = miou
                better = self.best is None or miou > self.best["miou"]
            self.observer.note(f"step {self.step:,}: validation mIoU {miou:.2f}")
        self.curve.append(point)
        if better:
            self.best = {"step": point["step"], "miou": point["miou"]}
        # The state first: whoever goes on from it can write the best weights again, but not get older ones back.
        self._save()
        if better:
            self._save_weights(BEST)
        self.reported = self.step, time.perf_counter()

    def _evaluate(self) -> float | None:
        """Let the method gather what its network needs; mIoU in percent on the validation split at single scale."""
        self._require_finite()
        try:
            gather(
                self.method,
                self.data[next(iter(self.stage.streams))],
                self._first_stream(),
                input=self.stage.model.input,
                runtime=self.runtime,
                observer=self.observer,
                stop=self.stop,
            )
            return None if self.validation is None else self._validate(self.validation)
        except Interrupted:
            self._save()
            raise Interrupted(f"Saved at step {self.step:,}, before its validation.", next=AGAIN) from None
        except Exception:  # a broken image or a device without memory for whole images must not cost the steps
            self._save()
            raise

    def _validate(self, images: SegDataset) -> float:
        result = evaluate(
            self.method.predictor(),
            images,
            EvaluationSpec(data=DataSpec(name=self.classes.name, splits=("val",))),
            input=self.stage.model.input,
            runtime=self.runtime,
            phase="validate",
            observer=self.observer,
            stop=self.stop,
        )
        return result.figures(absent="exclude")["miou"]

    def _open(self, data: DataSpec, cache: CacheUse) -> SegDataset:
        observer = watching(self.observer, self.stop)
        return open_dataset(seeded(data, self.seed), root=self.data_root, cache=cache, observer=observer)

    def _open_validation(self) -> SegDataset | None:
        spec = self._first_stream().data
        if self.stage.schedule.validate_every is None or "val" not in facts(spec.name).splits:
            return None
        spec = spec.model_copy(update={"splits": ("val",), "subset": None, "unlabelled_rest": False})
        return self._open(spec, "off" if self.cache == "off" else "use")

    def _first_stream(self) -> StreamSpec:
        return next(iter(self.stage.streams.values()))

    def _save_weights(self, name: str) -> None:
        data = self._first_stream().data
        header = weights_file.WeightsHeader(
            self.stage.model,
            tuple(self.classes.names),
            data.name,
            self.training,
            self.step,
            data.scale,
            data.source,
            data.images,
            self._first_stream().crop,
        )
        weights_file.save_weights(self.folder / name, self.method.predictor(), header)

    def _save(self) -> None:
        """Write everything that the next step depends on; the losses have been fetched."""
        self._require_finite()
        state = {
            "segbench_state": 1,
            "training": self.training,
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
            "best": self.best,
            "weights": self.weights,
            "losses": self.losses.state_dict(),
            "step_seconds": self.clock.fetch(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.runtime.device) if self.runtime.is_cuda else None,
        }
        training_state.save_state(self.folder / STATE, state)

    def _require_finite(self) -> None:
        require_finite(self.method, self.optimizer, step=self.step, device=self.runtime.device)

    def _restore(self, state: dict[str, Any]) -> None:
        path = self.folder / STATE
        advice = f"rm {path}, and type the same command again"
        if state.get("training") != self.training:
            raise RunFault(f"{path} is the state of another training ({state.get('training')}).", next=advice)
        try:
            load_strictly(self.method, state["method"], source=path.name)
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.curve, self.best, self.weights = state["curve"], state["best"], state["weights"]
            self.losses.load_state_dict(state["losses"])
            self.clock = StepClock(self.runtime, state.get("step_seconds", ()))
            torch.set_rng_state(state["rng"])
        except InvalidFault as fault:
            raise InvalidFault(*fault.faults, next=advice) from None
        except (KeyError, ValueError) as error:
            raise InvalidFault(f"{path} does not fit this version of segbench: {error}.", next=advice) from error
        if self.runtime.is_cuda and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.runtime.device)
        if self.best is not None and self.best["step"] == self.step:
            self._save_weights(BEST)  # the run may have been killed between the two files
        self.observer.note(f"goes on from step {self.step:,}")

    def _finish(self) -> Summary:
        self._save_weights(LAST)
        last = self.curve[-1]
        summary = Summary(
            steps=self.step,
            seconds=self.seconds,
            seconds_per_step=self.seconds / self.step,
            seconds_per_iteration=self.clock.median(),
            parameters=sum(parameter.numel() for parameter in self.method.predictor().parameters()),
            peak_memory_bytes=self.runtime.peak_memory_bytes(),
            losses={name.removeprefix("loss_"): value for name, value in last.items() if name.startswith("loss_")},
            curve=self.curve,
            best=self.best,
            last={"step": last["step"], "miou": last["miou"]} if "miou" in last else None,
            weights=self.weights,
        )
        atomic.write_json(self.folder / SUMMARY, vars(summary))
        (self.folder / STATE).unlink(missing_ok=True)
        return summary


def _check_supported(stage: StageSpec) -> None:
    """Refuse what the loop would otherwise leave out in silence.

    Raises:
        InvalidFault: one line a fault.
    """
    faults = [f"stage {stage.name!r}: {lack}" for lack in support.of_stage(stage)]
    if faults:
        raise InvalidFault(*faults, next="segbench list")
