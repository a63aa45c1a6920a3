# SPDX-License-Identifier: MIT
"""What the kernels and a step should take of an H100: `python -m bench.cuda.predict` writes bench/cuda/predicted.md."""

from __future__ import annotations

from pathlib import Path

from .costs import H100, KERNELS, LEAST_K, TILE, Call, Card
from .step import training_step

PAGE = Path(__file__).resolve().parent / "predicted.md"
WIDTHS = (784, 1024, 1024, 10)
BATCHES = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
# Large enough that memory and not its caches counts; also what bench/cuda times
ELEMENTS, PARAMETERS = (65536, 1024), 1 << 26
SHAPES: dict[str, tuple[int, ...]] = {
    "gemm": (4096, 4096, 4096),
    "end_step": (),
    "gather_labels": (1 << 24,),
    "count_hits": (1 << 20, 10),
    "conv_forward": (128, 32, 64, 64, 3),
    "conv_backward": (128, 32, 64, 64, 3),
    "conv_gradient": (128, 32, 64, 64, 3),
    "sparse_forward": (4096, 1024, 100000, 50),
    "sparse_backward": (4096, 1024, 100000, 50),
}


def timed() -> list[Call]:
    """Return each kernel at the shape that it is timed at, and the products of a step."""
    shapes = {"rows cols": ELEMENTS, "n": (PARAMETERS,)}
    calls = [Call(name, SHAPES.get(name, shapes.get(k.shape, ()))) for name, k in KERNELS.items() if not name.startswith("copy_")]
    step = [c for batch in (128, 4096) for c in training_step(WIDTHS, batch) if c.kernel == "gemm"]
    return [*calls, *dict.fromkeys(step), Call("softmax_cross_entropy", (4096, 10)), Call("column_sum", (4096, 1024))]


def kernel_table(calls: list[Call], card: Card) -> list[str]:
    """Return the table of bytes, operations and floors."""
    lines = ["| kernel | shape | launches | MB | Mflop | bound by | floor, us |", "|---|---|---|---|---|---|---|"]
    for c in calls:
        bound = "operations" if c.operations / card.rate > c.bytes / card.bandwidth else "bytes"
        floor, mega = c.floor(card), (c.bytes / 1e6, c.operations / 1e6)
        shape = " x ".join(map(str, c.shape))
        lines.append(f"| {c.kernel} | {shape} | {c.launches(card)} | {number(mega[0])} | {number(mega[1])} | {bound} | {number(1e6 * floor)} |")
    return lines


def step_table(card: Card, optimizer: str) -> list[str]:
    """Return the table of a training step by size of its batch."""
    lines = [
        "| batch | launches | MB | Gflop | floor, us | products, us | other kernels, us | gaps, us | predicted, us | samples/s | of 67 Tflop/s |",
        "|" + "---|" * 11,
    ]
    for batch in BATCHES:
        calls = training_step(WIDTHS, batch, optimizer=optimizer)
        products = sum(c.work(card) for c in calls if c.kernel == "gemm")
        others = sum(c.work(card) for c in calls if c.kernel != "gemm")
        gaps, flop = sum(c.gaps(card) for c in calls), sum(c.operations for c in calls)
        total = step_seconds(card, batch, optimizer)
        times = (sum(c.floor(card) for c in calls), products, others, gaps, total)
        cells = [f"{batch:,}", str(sum(c.launches(card) for c in calls)), number(sum(c.bytes for c in calls) / 1e6), number(flop / 1e9)]
        cells += [number(1e6 * t) for t in times] + [f"{batch / total / 1e6:.2f} M", f"{flop / total / card.rate:.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def step_seconds(card: Card, batch: int, optimizer: str = "momentum") -> float:
    """Return the predicted time of a training step: its kernels at work, and the gaps between them."""
    return sum(c.work(card) + c.gaps(card) for c in training_step(WIDTHS, batch, optimizer=optimizer))


def number(x: float) -> str:
    """Three digits or more, without an exponent."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}" if x >= 0.01 else f"{x:.1g}" if x else "0"


TEXT = """<!-- SPDX-License-Identifier: MIT -->
<!-- Made by python -m bench.cuda.predict from costs.py and step.py. -->
# What an H100 should take: predicted, not measured

Nobody has run these kernels on a card. What stands here is reckoned from what they read, write and compute, so that the first person who has one
can hold the code to it: `python -m bench.cuda PROGRAM` prints what was measured beside the floors (docs/cuda.md).

{card.name}: {bandwidth:.1f} TB/s, {rate:.0f} Tflop/s in float32 without tensor cores (TF32 is off), {card.processors} processors, {link:.0f} GB/s
from the host.

- **floor**: bytes over bandwidth or operations over rate, whichever is longer. What stays in the second-level cache (50 MB) from one kernel to the
  next is counted at memory's rate, so at small batches kernels may be faster than their floor. exp, log and divisions count as several
  operations (costs.py).
- **products**: their tiles ({tile} x {tile}) go to the processors in waves at the full rate; k is cut into parts of {least} or more where that fills
  more processors. cuBLAS chooses its own tiles, and reaches less than the full rate.
- **gaps**: {gap:.1f} us a launch or copy, assumed, from the end of a kernel to where its successor is at work. If the host takes longer to launch
  one, it and not the card sets the pace at small batches.

## A training step of {widths}

relu, softmax cross-entropy, SGD with momentum 0.9, float32. The data set lies on the card and is shuffled: the batch's row numbers are sent, its
rows gathered. The model's launches are those of real steps, counted on the emulation (tests/test_bench_cuda.py).

{momentum}

With Adam, which reads and writes one more number a parameter:

{adam}

## The kernels of a step at batch 4,096, in order

{step}

## Each kernel at the shape that bench/cuda times

{kernels}
"""


def page(card: Card = H100) -> str:
    """Return the whole of predicted.md."""
    return TEXT.format(
        card=card,
        bandwidth=card.bandwidth / 1e12,
        rate=card.rate / 1e12,
        link=card.link / 1e9,
        gap=1e6 * card.gap,
        tile=TILE,
        least=LEAST_K,
        widths="-".join(map(str, WIDTHS)),
        momentum="\n".join(step_table(card, "momentum")),
        adam="\n".join(step_table(card, "adam")),
        step="\n".join(kernel_table([c for c in training_step(WIDTHS, 4096) if not c.copies()], card)),
        kernels="\n".join(kernel_table(timed(), card)),
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
