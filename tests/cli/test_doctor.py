"""``segbench doctor``: the machine on one page, problems with their remedies, and which rows fit."""

from pathlib import Path

import pytest
import torch

from segbench.capacity import machine
from segbench.capacity.machine import Device
from tests.capacity.test_memory import OWN
from tests.program import Done, segbench

GB = 10**9
CARD = Device("cuda:0", "A card", 8 * GB, True)


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (*machine.credentials(), "SEGBENCH_OFFLINE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "cuda_devices", list)
    monkeypatch.setattr(machine, "physical_gpus", list)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return path


def doctor(recipe: Path, *words: object) -> Done:
    return segbench("doctor", "own", "--recipe", recipe, *words)


def squeezed(done: Done) -> str:
    return " ".join(done.out.split())


def test_one_page(recipe: Path, tmp_path: Path) -> None:
    done = doctor(recipe, "--out", tmp_path / "results", "--data-root", tmp_path / "data")
    assert (done.code, done.err) == (0, "")
    text = squeezed(done)
    assert f"torch {torch.__version__.partition('+')[0]}" in text and "timm " in text and "segbench 0." in text
    assert "gpu none that torch can use" in text and " of main memory" in text
    for folder in ("results", "data"):
        assert f"{tmp_path / folder} " in done.out
    assert "missing: ade20k, camvid, " in text
    assert "HF_TOKEN not set" in text and "SEGBENCH_CITYSCAPES_PASSWORD not set" in text
    assert "No problems found." in done.out
    assert done.out.splitlines()[-1] == "Next: segbench reproduce own/plain --dry-run"


def test_as_json(recipe: Path, tmp_path: Path) -> None:
    found = doctor(recipe, "--json", "--out", tmp_path / "results").json
    assert found["schema"] == 1 and found["warnings"] == [] and found["memory_bytes"] is None
    assert found["devices"] == [] and found["cores"] >= 1 and found["main_memory_bytes"] > 10**8
    assert found["versions"]["python"].startswith("3.")
    assert found["places"]["results"]["folder"] == str(tmp_path / "results")
    assert found["places"]["results"]["free_bytes"] > 0
    assert found["data"]["camvid"] == "missing" and found["prepared_bytes"] == {}
    assert set(found["weights"].values()) <= {True, False} and len(found["weights"]) > 5
    assert set(found["credentials"].values()) == {False}
    assert [(each["row"], each["dataset"], each["batch"]) for each in found["fits"]] == [
        ("plain", "camvid", 16), ("twin", "camvid", 16), ("light", "camvid", 4)
    ]  # fmt: skip
    for each in found["fits"]:
        assert each["bytes"] >= each["checkpointed_bytes"] >= each["evaluation_bytes"] > 0
        assert each["fits_gb"] in (8, 12, 24, 80, None) and "with" not in each


def test_data_that_is_there(recipe: Path, camvid: Path) -> None:
    assert "data sets ready: camvid · missing: ade20k" in squeezed(doctor(recipe, "--data-root", camvid))


def test_without_a_gpu_every_class_is_answered(recipe: Path) -> None:
    text = squeezed(doctor(recipe))
    assert "in GB row data batch training checkpointed evaluation 8 GB 12 GB 24 GB 80 GB own plain" in text
    assert "own plain and 1 more camvid 16 " in text
    assert "Estimated from shapes for bfloat16, not measured" in text


def test_the_memory_of_a_gpu_elsewhere(recipe: Path) -> None:
    """Whatever is added makes it fit, and its price is said; prices of what nobody needs are not."""
    needs = {each["row"]: each for each in doctor(recipe, "--json").json["fits"]}
    published, checkpointed = (needs["plain"][key] / GB for key in ("bytes", "checkpointed_bytes"))
    cheap = doctor(recipe, "--memory", (published + checkpointed) / 2)
    assert cheap.out.count("--checkpoint-activations") == 2, "for one group of rows, and its price"
    assert "costs nothing in comparability" in squeezed(cheap) and "--micro-batch" not in cheap.out
    assert "as published" in cheap.out, "the light row"
    scarce = max(1.01, checkpointed * 0.98)
    found = {each["row"]: each for each in doctor(recipe, "--json", "--memory", scarce).json["fits"]}
    assert found["plain"]["fits"] and not found["plain"]["comparable"]
    assert found["plain"]["with"][-1].startswith("--micro-batch ")
    dear = squeezed(doctor(recipe, "--memory", scarce))
    assert "--micro-batch N batch statistics" in dear and "verdicts become `not comparable`" in dear
    assert "evaluation.mode" not in dear


def test_the_gpu_that_is_here(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cuda_devices", lambda: [CARD])
    done = doctor(recipe)
    assert "cuda:0 A card, 8.0 GB, bfloat16" in squeezed(done)
    assert "on a (this) GPU of 8.0 GB" in done.out and "as published" in done.out
    assert "No problems found." in done.out
    monkeypatch.setattr(machine, "cuda_devices", lambda: [Device("cuda:0", "An old card", 8 * GB, False)])
    old = doctor(recipe, "--json").json
    assert {each["precision"] for each in old["fits"]} == {"float32"}
    assert [each["says"] for each in old["warnings"]] == ["cuda:0 (An old card) only emulates bfloat16."]
    assert "--precision float32" in old["warnings"][0]["next"]


def test_nothing_to_train(recipe: Path) -> None:
    done = segbench("doctor", "contextrast-table7")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "None of these rows trains a network that is built."


def test_results_that_cannot_be_written_prevent_everything(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = doctor(recipe, "--out", tmp_path / "file" / "results")
    assert done.code == 3
    assert done.out.index("!! No result can be written: ") < done.out.index("  plain and 1 more"), (
        "the page all the same"
    )
    assert done.lines[0].startswith("No result can be written: ") and "What was computed" not in done.err
    assert done.lines[-1] == "Next: the same command with --out FOLDER, or set SEGBENCH_RESULTS"
    as_json = doctor(recipe, "--json", "--out", tmp_path / "file" / "results")
    assert as_json.code == 3 and as_json.json["warnings"][0]["prevents"]


def test_credentials_are_named_and_never_shown(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_CITYSCAPES_PASSWORD", "open-sesame")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for words in ((), ("--json",)):
        done = doctor(recipe, *words)
        assert "open-sesame" not in done.out + done.err and "hf_secret" not in done.out + done.err
    assert done.json["credentials"]["HF_TOKEN"] is True
    (half,) = done.json["warnings"]
    assert half["says"] == "SEGBENCH_CITYSCAPES_PASSWORD is set, SEGBENCH_CITYSCAPES_USERNAME is not."
    assert half["next"] == "set SEGBENCH_CITYSCAPES_USERNAME" and not half["prevents"]


def test_low_disks_and_switches(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOW_DISK_BYTES", 10**18)
    monkeypatch.setenv("SEGBENCH_OFFLINE", "1")
    done = doctor(recipe, "--out", tmp_path / "results")
    assert done.code == 0
    assert done.out.count("!! The disk of ") == 3
    assert f"!! The disk of {tmp_path / 'results'} (results) has " in done.out
    assert "!! SEGBENCH_OFFLINE is set: nothing is downloaded.\n   Next: unset SEGBENCH_OFFLINE" in done.out


GPUS = "#!/bin/sh\ncase \"$1\" in *driver*) echo 470.1;; *) echo 'NVIDIA Thing'; echo 'NVIDIA Thing';; esac\n"


@pytest.mark.parametrize(
    ("built_for", "hidden", "says", "next"),
    [
        (None, None, "This torch is built for the CPU alone, but there is a GPU: NVIDIA Thing.", "a build for CUDA"),
        ("13.0", "", "CUDA_VISIBLE_DEVICES is '' and hides NVIDIA Thing.", "unset CUDA_VISIBLE_DEVICES"),
        ("13.0", None, "its CUDA 13.0 does not work with the driver 470.1.", "update the driver"),
    ],
)
def test_a_gpu_that_torch_cannot_use(
    built_for: str | None, hidden: str | None, says: str, next: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With a driver's own program in the PATH that tells of two cards."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(GPUS)
    program.chmod(0o755)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert machine.physical_gpus() == ["NVIDIA Thing"] * 2 and machine.driver_version() == "470.1"
    (found,) = machine._gpus([])
    assert says in found.says and next in found.next and not found.prevents
    assert machine._gpus([CARD]) == [], "it can use one"


def test_a_driver_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.physical_gpus() == [] and machine.driver_version() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho failed; exit 9\n")
    program.chmod(0o755)
    assert machine.physical_gpus() == [] and machine.driver_version() is None


def test_list_shows_what_fits(recipe: Path) -> None:
    done = segbench("list", "own", "--recipe", recipe, "--memory")
    (header,) = (line for line in done.out.splitlines() if line.startswith("row "))
    assert header.split()[-3:] == ["figures", "fits", "status"]
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.split()}
    assert " 8 GB  runnable" in lines["light"] and " -  waiting: method nobody-built-this" in lines["waits"]
    rows = {row["row"]: row for row in segbench("list", "own", "--recipe", recipe, "--memory", "--json").json}
    assert rows["light"]["fits_gb"] == {"camvid": 8} and rows["light"]["memory_bytes"]["camvid"] > GB / 2
    assert rows["waits"]["fits_gb"] == rows["waits"]["memory_bytes"] == {"camvid": None}
    assert "fits_gb" not in segbench("list", "own", "--recipe", recipe, "--json").json[0]
    assert "--memory requires a table" in segbench("list", "--memory").fails(2)
