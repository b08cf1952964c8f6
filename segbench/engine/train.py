"""The training loop, one for all methods."""

import contextlib
import math
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from segbench.checkpoints import training_state, weights_file
from segbench.checkpoints.backbone_weights import load_backbone_weights
from segbench.checkpoints.loading import load_strictly
from segbench.core import atomic
from segbench.core.errors import Interrupted, InvalidFault, RunFault
from segbench.core.progress import SILENT, Observer, Progress
from segbench.core.spec import StageSpec
from segbench.data.batch import Batch
from segbench.data.dataset import SegDataset
from segbench.methods.base import Best, Method
from segbench.methods.build import build_method, needed_stages
from segbench.methods.step import StepInfo

from .batches import stage_batches
from .clock import StepClock
from .folder import BEST, LAST, REFRESHED, STATE, SUMMARY, Summary
from .gathering import gather
from .inputs import NO_INPUTS, StageInputs, open_networks
from .labelled import note_labelled
from .losses import LossMeter, require_finite
from .micro_batch import backward
from .optim import build_optimizer, learning_rate, set_learning_rate, update
from .runtime import Runtime
from .stage_data import StageData
from .validation import validate

REPORT_SECONDS = 1.0
RESUME = "the same command goes on from there"


def train_stage(
    stage: StageSpec,
    data: StageData,
    folder: Path,
    *,
    training: str,
    seed: int,
    runtime: Runtime,
    inputs: StageInputs = NO_INPUTS,
    observer: Observer = SILENT,
) -> Summary:
    """Train a stage on opened data, or resume it; ``run_stage`` documents arguments and faults."""
    run = TrainingRun(stage, data, folder, training=training, seed=seed, runtime=runtime, observer=observer)
    run.prepare(inputs)
    return run.loop()


class TrainingRun:
    """One run of the loop, from the start or a saved state."""

    def __init__(
        self,
        stage: StageSpec,
        data: StageData,
        folder: Path,
        *,
        training: str,
        seed: int,
        runtime: Runtime,
        observer: Observer = SILENT,
    ) -> None:
        self.stage, self.data, self.folder, self.training, self.seed = stage, data, folder, training, seed
        self.runtime, self.observer = runtime, observer
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self.weights: dict[str, Any] = {}
        self.losses = LossMeter()
        self.clock = StepClock(runtime)
        self.reported = (0, 0.0)  # step and time

    def prepare(self, inputs: StageInputs) -> None:
        """Build the method from the seed and load initial weights or saved state into it."""
        self.runtime.apply()
        torch.manual_seed(self.seed)
        classes = self.data.classes
        images = {name: len(each) for name, each in self.data.streams.items()}
        self.method: Method = build_method(self.stage, num_classes=classes.num_classes, seed=self.seed, images=images)
        segmentor = self.method.segmentor
        if needed_stages(self.stage):
            self.method.receive(open_networks(self.stage, inputs))
        state = training_state.load_state(self.folder / STATE)
        resumes = state is not None
        note_labelled(
            self.stage, self.folder, self.data.streams, seed=self.seed, goes_on=resumes, observer=self.observer
        )
        if state is None and inputs.weights is not None:
            load_strictly(segmentor, weights_file.load_weights(inputs.weights)[1], source=inputs.weights.name)
        elif state is None:
            wanted = self.stage.weights
            report = load_backbone_weights(
                segmentor.backbone,
                self.stage.model.backbone,
                weights=wanted.backbone,
                file=wanted.file,
                decoder=segmentor.decoder if wanted.classifier else None,
            )
            if report is not None:
                self.weights = {"source": report.source, "sha256": report.sha256, "tensors": report.matched}
        self.runtime.place(self.method)
        self.optimizer = build_optimizer(self.stage.schedule.optimizer, self.method, fused=self.runtime.fuses)
        if state is not None:
            self._restore(state)
        self.runtime.prepare_network(self.method.segmentor)

    def loop(self) -> Summary:
        """Train until the last step."""
        self.method.train()
        saved = time.perf_counter()
        self.reported = self.step, saved
        with contextlib.closing(self._batches()) as batches:
            while True:
                if self._is_due():  # before any step, as a run may have been stopped before its validation
                    self._measure()
                    saved = time.perf_counter()
                if self.step == self.stage.schedule.steps:
                    return self._finish()
                if self.curve and self.curve[-1]["step"] == self.step:
                    # Also when the run resumes here: the state of a validated step is saved before this call.
                    self.method.on_validation(self._info(), self.curve[-1].get("miou"), self._best())
                self._train_step(next(batches))
                now = time.perf_counter()
                stopping = self.observer.stop_requested() and self.step < self.stage.schedule.steps
                saving = stopping or now - saved >= self.runtime.checkpoint_seconds
                if saving or now - self.reported[1] >= REPORT_SECONDS or self._is_due():
                    self._report()
                if saving:
                    self._save()
                    saved = time.perf_counter()
                    self.reported = self.step, saved
                if stopping:
                    raise Interrupted(f"Saved at step {self.step:,}.", next=RESUME)

    def _best(self) -> Best | None:
        if self.best is None:
            return None
        return Best(int(self.best["step"]), lambda: weights_file.load_weights(self.folder / BEST)[1])

    def _info(self) -> StepInfo:
        return StepInfo(self.step, self.stage.schedule.steps, micro_batches=self.stage.micro_batches)

    def _train_step(self, batches: dict[str, Batch]) -> None:
        """Do one step without waiting for the device."""
        info = self._info()
        set_learning_rate(self.optimizer, self._lr(self.step))
        with self.clock.step():
            names, losses = backward(self.method, batches, info=info, runtime=self.runtime)
            update(self.optimizer, reset=self.stage.schedule.reset_optimizer)
            self.optimizer.zero_grad(set_to_none=True)
            self.method.after_step(info)
        self.losses.add(names, losses, step=self.step)
        self.step += 1

    def _batches(self) -> Generator[dict[str, Batch], None, None]:
        return stage_batches(
            self.stage,
            self.data.streams,
            seed=self.seed,
            start_step=self.step,
            runtime=self.runtime,
            observer=self.observer.phase("prepare"),
        )

    def _lr(self, step: int) -> float:
        schedule = self.stage.schedule
        return learning_rate(schedule.policy, schedule.optimizer.lr, step=step, steps=schedule.steps)

    def _report(self) -> None:
        """Wait for the device, check the losses and report the steps since the last report.

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
        """Return True if the curve lacks a point at this step."""
        every, steps = self.stage.schedule.validate_every, self.stage.schedule.steps
        falls = self.step == steps or (every is not None and self.step % every == 0)
        return self.step > 0 and falls and not (self.curve and self.curve[-1]["step"] == self.step)

    def _measure(self) -> None:
        """Add a point to the curve, with a validation score if there is one; save state and best weights."""
        miou = self._evaluate()
        point = {"step": float(self.step), "lr": self._lr(self.step - 1)}
        point |= {f"loss_{name}": value for name, value in self.losses.take().items()}
        better = False
        if miou is not None:
            if math.isfinite(miou):  # NaN if nothing in the split is labelled
                point["miou"] = miou
                better = self.best is None or miou > self.best["miou"]
            self.observer.note(f"step {self.step:,}: validation mIoU {miou:.2f}")
        self.curve.append(point)
        if better:
            self.best = {"step": point["step"], "miou": point["miou"]}
        # The state first: a run that resumes from it can write the best weights again, but not restore older ones.
        self._save()
        if better:
            self._save_weights(BEST)
        if self.runtime.keep_validated:
            self._save_weights(f"step-{self.step:06d}.safetensors")
        self.reported = self.step, time.perf_counter()

    def _evaluate(self) -> float | None:
        """Gather what the network needs; return the mIoU in percent on the validation split at a single scale."""
        self._require_finite()
        try:
            gather(
                self.method,
                self.data.streams[self.stage.primary_name],
                self.stage.primary_stream,
                input=self.stage.model.input,
                runtime=self.runtime,
                observer=self.observer,
            )
            if self.data.validation is None:
                return None
            return self._validate(self.data.validation)
        except Interrupted:
            self._save()
            raise Interrupted(f"Saved at step {self.step:,}, before its validation.", next=RESUME) from None
        except Exception:  # a broken image or too little memory for whole images must not cost the steps
            self._save()
            raise

    def _refresh(self) -> dict[str, Any] | None:
        """Let the method refresh the best weights; keep what comes out if it validates better.

        The last weights have been saved. A run that is killed meanwhile resumes from the last step and begins anew.
        """
        count, best, validation = self.method.refreshes(), self._best(), self.data.validation
        (self.folder / REFRESHED).unlink(missing_ok=True)
        if not count or best is None or self.best is None or validation is None:
            return None
        load_strictly(self.method.predictor(), best.weights(), source=BEST)
        self.method.train()
        with contextlib.closing(self._batches()) as batches, torch.no_grad(), self.runtime.autocast():
            for _ in range(count):
                if self.observer.stop_requested():
                    raise Interrupted(
                        f"Saved at step {self.step:,}, before the best weights were refreshed.", next=RESUME
                    )
                self.method.refresh(next(batches))
        miou = self._validate(validation)
        better = miou > self.best["miou"]
        self.observer.note(f"step {best.step:,} refreshed over {count:,} batches: validation mIoU {miou:.2f}")
        if better:
            self._save_weights(REFRESHED, step=best.step)
        return {"batches": count, "miou": miou if math.isfinite(miou) else None, "better": better}

    def _validate(self, validation: SegDataset) -> float:
        return validate(
            self.method.predictor(),
            validation,
            name=self.data.classes.name,
            input=self.stage.model.input,
            runtime=self.runtime,
            observer=self.observer,
        )

    def _save_weights(self, name: str, *, step: int | None = None) -> None:
        data = self.stage.primary_stream.data
        header = weights_file.WeightsHeader(
            self.stage.model,
            tuple(self.data.classes.names),
            data.name,
            self.training,
            self.step if step is None else step,
            data.scale,
            data.source,
            data.images,
            self.stage.primary_stream.crop,
        )
        weights_file.save_weights(self.folder / name, self.method.predictor(), header)

    def _save(self) -> None:
        """Save everything that the next step depends on; the losses have been fetched."""
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
        refreshed = self._refresh()
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
            refreshed=refreshed,
        )
        atomic.write_json(self.folder / SUMMARY, vars(summary))
        (self.folder / STATE).unlink(missing_ok=True)
        return summary
