"""What ``segbench --help`` costs, in bare imports of typer and rich; the target is at most three.

Run ``python benchmarks/startup.py``. Both start fresh interpreters in turns; printed are medians over the turns.
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import typer, rich'": ["-c", "import typer, rich"],
    "segbench --help": ["-m", "segbench", "--help"],
    "segbench": ["-m", "segbench"],
    "segbench list": ["-m", "segbench", "list"],
}
BARE, HELP, TARGET = "python -c 'import typer, rich'", "segbench --help", 3.0


def seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(turns: int) -> dict[str, float]:
    """Median seconds of each command over interleaved turns, after one that only warms the disk cache."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(turns + 1):
        for name, words in COMMANDS.items():
            taken = seconds(words)
            if turn:
                times[name].append(taken)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    found = measure(parser.parse_args().turns)
    for name, value in found.items():
        print(f"{name:32s} {value * 1e3:8.1f} ms  {value / found[BARE]:6.2f} x a bare import")
    ratio = found[HELP] / found[BARE]
    print(f"segbench --help costs {ratio:.2f} bare imports of typer and rich (target: at most {TARGET:g})")
    sys.exit(ratio > TARGET)


if __name__ == "__main__":
    main()
