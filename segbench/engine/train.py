"""The training loop: one, straight, for every method."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from segbench.core import atomic
from segbench.core.errors import Interrupted, RunFault
from segbench.core.spec import DataSpec, EvaluationSpec, StageSpec
from segbench.data.batch import Batch
from segbench.data.loader import Finisher, TrainingBatches
from segbench.data.open import open_dataset
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.models.weights import load_backbone_weights

from . import checkpoint
from .evaluate import evaluate
from .optim import build_optimizer, learning_rate, set_learning_rate
from .progress import Observer, Progress, Silent
from .runtime import Runtime

REPORT_SECONDS = 1.0
STATE, LAST, BEST, SUMMARY = "state.pt", "last.safetensors", "best.safetensors", "summary.json"


@dataclass
class Summary:
    """What a finished stage says of itself; written last, so a stage that has one is whole."""

    steps: int
    seconds: float
    seconds_per_step: float
    parameters: int
    peak_memory_bytes: int
    losses: dict[str, float]
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    last: dict[str, float] | None = None
    weights: dict[str, Any] = field(default_factory=dict)


def train_stage(
    stage: StageSpec,
    folder: Path,
    *,
    training: str,
    seed: int,
    runtime: Runtime,
    data_root: Path | None = None,
    start: Path | None = None,
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
        observer: told about progress.
        stop: asked after every step; True saves and raises.

    Raises:
        Interrupted: ``stop`` said so; the state is saved.
        RunFault: non-finite loss, disk full, or another process trains here. Resumable.
        MissingFault: data or weights are missing.
    """
    with _alone(folder, training):
        done = read_summary(folder)
        if done is not None:
            return done
        run = _Run(stage, folder, training, seed, runtime, data_root, observer or Silent(), stop)
        run.prepare(start)
        return run.loop()


def read_summary(folder: Path) -> Summary | None:
    """The summary of a finished stage, None if there is none."""
    path = folder / SUMMARY
    if not path.exists():
        return None
    return Summary(**json.loads(path.read_text()))


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
    ) -> None:
        self.stage, self.folder, self.training, self.seed = stage, folder, training, seed
        self.runtime, self.data_root, self.observer, self.stop = runtime, data_root, observer, stop
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self.weights: dict[str, Any] = {}
        self.pending: list[Tensor] = []
        self.names: list[str] = []

    def prepare(self, start: Path | None) -> None:
        """Build the method from the seed, then load the start or the saved state over it."""
        self.runtime.apply()
        torch.manual_seed(self.seed)
        self.data = {name: open_dataset(stream.data, root=self.data_root) for name, stream in self.streams.items()}
        self.classes = next(iter(self.data.values())).classes
        self.method: Method = build_method(self.stage, num_classes=self.classes.num_classes, seed=self.seed)
        segmentor = self.method.predictor()
        state = checkpoint.load_state(self.folder / STATE, device="cpu")
        if state is None and start is not None:
            checkpoint.load_into(segmentor, checkpoint.load_weights(start)[1], start)
        elif state is None:
            report = load_backbone_weights(
                segmentor.backbone, self.stage.model.backbone, weights=self.stage.weights.backbone
            )
            if report is not None:
                self.weights = {"source": report.source, "sha256": report.sha256, "tensors": report.matched}
        self.runtime.place(self.method)
        self.optimizer = build_optimizer(self.stage.schedule.optimizer, self.method, fused=self.runtime.is_cuda)
        if state is not None:
            self._restore(state)
        self.forward: Callable[..., dict[str, Tensor]] = self.method
        if self.runtime.compile:
            self.forward = torch.compile(self.method)
        self.validation = self._open_validation()

    @property
    def streams(self) -> dict[str, Any]:
        return self.stage.streams

    def loop(self) -> Summary:
        """Train until the last step."""
        self.method.train()
        with contextlib.closing(self._batches()) as batches:
            return self._steps(batches)

    def _steps(self, batches: Iterator[dict[str, Batch]]) -> Summary:
        steps, schedule = self.stage.schedule.steps, self.stage.schedule
        since_report = since_save = time.perf_counter()
        reported = self.step
        losses: dict[str, float] = {}
        while self.step < steps:
            began = time.perf_counter()
            lr = learning_rate(schedule.policy, schedule.optimizer.lr, step=self.step, steps=steps)
            set_learning_rate(self.optimizer, lr)
            batch = next(batches)
            with self.runtime.autocast():
                terms = self.forward(batch, self.step)
            total = torch.stack([term.float() for term in terms.values()])
            self.optimizer.zero_grad(set_to_none=True)
            total.sum().backward()
            self.optimizer.step()
            self.method.after_step(self.step)
            self.names = list(terms)
            self.pending.append(total.detach())
            self.step += 1
            now = time.perf_counter()
            self.seconds += now - began
            due = schedule.validate_every is not None and self.step % schedule.validate_every == 0
            ends = self.step == steps
            if now - since_report >= REPORT_SECONDS or due or ends:
                losses = self._fetch()
                self._report(losses, lr, (self.step - reported) / (now - since_report))
                reported, since_report = self.step, now
            if due or ends:
                self._validate(losses, lr)
            if self.stop() and not ends:
                self._save()
                raise Interrupted(f"Saved at step {self.step:,}.", next="the same command goes on from there")
            if due or time.perf_counter() - since_save >= self.runtime.checkpoint_seconds:
                self._save()
                since_save = time.perf_counter()
            if due:
                since_report = time.perf_counter()
        return self._finish(losses)

    def _batches(self) -> Generator[dict[str, Batch], None, None]:
        """Batches of every stream from the current step on: a function of seed and step alone."""
        with contextlib.ExitStack() as stack:
            loaders, finishers = {}, {}
            for name, stream in self.streams.items():
                loader = TrainingBatches(
                    stream,
                    self.data[name],
                    seed=self.seed,
                    input=self.stage.model.input,
                    stream=name,
                    start_step=self.step,
                    num_workers=self.runtime.workers,
                    pin_memory=self.runtime.is_cuda,
                )
                loaders[name] = stack.enter_context(loader)
                finishers[name] = Finisher(
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

    def _fetch(self) -> dict[str, float]:
        """Mean of each term since the last fetch; the only place where the loop waits for the device.

        Raises:
            RunFault: a term was not finite; nothing after the last save is kept.
        """
        if not self.pending:
            return {}
        values = torch.stack(self.pending).cpu()
        first = self.step - len(self.pending)
        self.pending = []
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise RunFault(
                f"The loss {self.names[column]!r} became {values[row, column].item()} at step {first + row + 1:,}. "
                f"The state before is kept.",
                next="the same command with --set schedule.optimizer.lr=SMALLER, or --precision float32",
            )
        return dict(zip(self.names, values.mean(0).tolist(), strict=True))

    def _report(self, losses: dict[str, float], lr: float, steps_per_second: float) -> None:
        images = sum(stream.batch_total for stream in self.streams.values())
        left = (self.stage.schedule.steps - self.step) * (self.seconds / max(1, self.step))
        self.observer.report(
            Progress(
                "train",
                self.step,
                self.stage.schedule.steps,
                losses,
                lr,
                steps_per_second * images,
                self.runtime.peak_memory_bytes(),
                left,
                self.curve[-1].get("miou") if self.curve else None,
            )
        )

    def _open_validation(self) -> Any:
        spec = next(iter(self.streams.values())).data
        if self.stage.schedule.validate_every is None:
            return None
        validation = DataSpec(
            name=spec.name,
            source=spec.source,
            classes=spec.classes,
            splits=("val",),
            scale=spec.scale,
            size=spec.size,
            images=spec.images,
        )
        return open_dataset(validation, root=self.data_root)

    def _validate(self, losses: dict[str, float], lr: float) -> None:
        """Score the validation split at single scale; keep the best weights."""
        point = {"step": float(self.step), "lr": lr, **{f"loss_{name}": value for name, value in losses.items()}}
        if self.validation is not None:
            result = evaluate(
                self.method.predictor(),
                self.validation,
                EvaluationSpec(data=DataSpec(name=self.classes.name, splits=("val",))),
                input=self.stage.model.input,
                runtime=self.runtime,
                phase="validate",
                observer=self.observer,
            )
            point["miou"] = result.figures(absent="exclude")["miou"]
            if self.best is None or point["miou"] > self.best["miou"]:
                self.best = {"step": point["step"], "miou": point["miou"]}
                self._save_weights(BEST)
            self.observer.note(f"step {self.step:,}: validation mIoU {point['miou']:.2f}")
        self.curve.append(point)

    def _header(self) -> checkpoint.WeightsHeader:
        data = next(iter(self.streams.values())).data
        return checkpoint.WeightsHeader(
            self.stage.model,
            tuple(self.classes.names),
            data.name,
            self.training,
            self.step,
            data.scale,
            data.source,
            data.images,
        )

    def _save_weights(self, name: str) -> None:
        checkpoint.save_weights(self.folder / name, self.method.predictor(), self._header())

    def _save(self) -> None:
        """Write everything that the next step depends on."""
        self._fetch()  # never keep a state that a non-finite loss has touched
        state = {
            "segbench_state": 1,
            "training": self.training,
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
            "best": self.best,
            "weights": self.weights,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.runtime.device) if self.runtime.is_cuda else None,
        }
        checkpoint.save_state(self.folder / STATE, state)

    def _restore(self, state: dict[str, Any]) -> None:
        if state.get("training") != self.training:
            raise RunFault(
                f"{self.folder / STATE} is the state of another training ({state.get('training')}).",
                next=f"rm {self.folder / STATE}, and type the same command again",
            )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.curve, self.best, self.weights = state["curve"], state["best"], state["weights"]
        torch.set_rng_state(state["rng"])
        if self.runtime.is_cuda and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.runtime.device)
        self.observer.note(f"goes on from step {self.step:,}")

    def _finish(self, losses: dict[str, float]) -> Summary:
        self._save_weights(LAST)
        last = self.curve[-1] if self.curve else None
        summary = Summary(
            steps=self.step,
            seconds=self.seconds,
            seconds_per_step=self.seconds / self.step,
            parameters=sum(parameter.numel() for parameter in self.method.predictor().parameters()),
            peak_memory_bytes=self.runtime.peak_memory_bytes(),
            losses={name: value for name, value in losses.items() if math.isfinite(value)},
            curve=self.curve,
            best=self.best,
            last={"step": last["step"], "miou": last["miou"]} if last and "miou" in last else None,
            weights=self.weights,
        )
        atomic.write_json(self.folder / SUMMARY, vars(summary))
        (self.folder / STATE).unlink(missing_ok=True)
        return summary


@contextlib.contextmanager
def _alone(folder: Path, training: str) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it when a process dies, however it dies."""
    with atomic.guarded(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFault(
            f"Another process is working on training {training}.",
            next="wait for it; what it finishes is shared, then type the same command again",
        ) from None
    try:
        yield
    finally:
        lock.release()
