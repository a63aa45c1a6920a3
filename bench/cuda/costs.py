# SPDX-License-Identifier: MIT
"""Bytes, operations and launches of each kernel of csrc/kernels/cuda, in float32: the one place that has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

F, INDEX, LABEL, DOUBLE = 4, 8, 4, 8  # bytes of a number, of a row's number, of a label, of a sum
# Operations of what is not one instruction, by the polynomials of csrc/math/fastmath.h and the card's own divisions and roots
EXP, LOG, TANH, DIVIDE, ROOT = 20, 20, 35, 8, 8


@dataclass(frozen=True)
class Card:
    """A card by its data sheet, and what a launch costs."""

    name: str
    bandwidth: float  # bytes/s of its memory
    rate: float  # operations/s in float32, multiply-add counted as two
    processors: int
    threads: int  # that a processor holds
    link: float  # bytes/s from the host
    gap: float  # s from the end of a kernel to where its successor in the stream is at work


H100 = Card("H100 SXM", 3.0e12, 67e12, 132, 2048, 50e9, 2.5e-6)

BLOCK, TILE, LEAST_K = 256, 64, 256  # threads of a block (csrc/kernels/cuda/common.cuh); a product's tile, and where cutting its k ends


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def blocks_for(card: Card, items: int) -> int:
    """Blocks of a kernel with one item a thread, as blocks_for in common.cuh."""
    return max(1, min(ceil_div(items, BLOCK), card.processors * (card.threads // BLOCK)))


def sums(items: int) -> int:
    """Launches of a kernel that ends in a sum over its blocks, as blocks_for_sums in common.cuh."""
    return 1 if items <= 4 * BLOCK else 2


def packs(n: int) -> int:
    """Items of a span: groups of four numbers and what is left."""
    return n // 4 + n % 4


def chunks(card: Card, rows: int, cols: int) -> int:
    """Parts of its rows that column_sum adds up apart, as in reduce.cu."""
    lanes = 32
    while lanes > 1 and lanes // 2 >= cols:
        lanes //= 2
    most = blocks_for(card, 1 << 40)
    wanted = max(1, min(ceil_div(rows, 32 * (BLOCK // lanes)), ceil_div(most, ceil_div(cols, lanes)), (1 << 19) // cols))
    return ceil_div(rows, max(1, ceil_div(rows, wanted)))


def conv_chunks(card: Card, pixels: int, channels: int, filters: int, kernel: int) -> int:
    """Parts of its pixels that conv_gradient adds up apart, as in conv.cu."""
    k, lanes = kernel * kernel * channels, 4 if filters <= 16 else 8 if filters <= 32 else 16
    threads = min(BLOCK, 32 * lanes)
    tiles, most, least = ceil_div(filters, 4 * lanes) * ceil_div(k, threads // lanes * 4), card.processors * (card.threads // threads), 128
    if filters < 4:  # a weight a thread
        tiles, most, least = filters * k, card.processors * card.threads, 16
    wanted = max(1, min(ceil_div(pixels, least), ceil_div(most, tiles), (1 << 19) // (filters * k)))
    return ceil_div(pixels, max(1, ceil_div(pixels, wanted)))


def row_items(rows: int, cols: int) -> int:
    """Threads of a kernel that goes by rows: several rows a warp, a warp a row, a block a row, as each_row in rows.cuh."""
    lanes = 32
    while lanes > 1 and lanes // 2 >= cols:
        lanes //= 2
    return rows * BLOCK if cols > 512 else ceil_div(rows, 32 // lanes) * 32


def one(*_: object) -> int:
    """One launch."""
    return 1


@dataclass(frozen=True)
class Kernel:
    """A kernel's bytes and operations as functions of its shape, and its launches as one of the card and its shape."""

    shape: str  # names of the shape's numbers
    bytes: Callable[..., float]
    operations: Callable[..., float]
    launches: Callable[..., int] = one


def elements(numbers: float, operations: float, by_row: float = 0) -> Kernel:
    """An elementwise kernel over (rows, cols): so many numbers in and out and operations an element."""
    return Kernel("rows cols", lambda r, c: F * (numbers * r * c + by_row * c), lambda r, c: operations * r * c)


def flat(numbers: float, operations: float, launches: Callable[..., int] = one) -> Kernel:
    """A kernel over n numbers."""
    return Kernel("n", lambda n: F * numbers * n, lambda n: operations * n, launches)


def loss(numbers: float, operations: float) -> Kernel:
    """A loss over elements, with its gradient."""
    return Kernel("rows cols", lambda r, c: F * numbers * r * c, lambda r, c: operations * r * c, lambda card, r, c: sums(packs(r * c)))


def convolution(launches: Callable[..., int]) -> Kernel:
    """A convolution's image, output and weights, each once; its gradient and transpose read two and write the third."""
    return Kernel(
        "images side channels filters kernel",
        lambda n, s, c, f, k: F * (n * s * s * (c + f) + f * k * k * c),
        lambda n, s, c, f, k: 2 * n * s * s * f * k * k * c,
        launches,
    )


# By the names of bench/cuda/time_kernels.cu. What a kernel reads twice within a few microseconds counts once.
KERNELS = {
    "gemm": Kernel("m n k", lambda m, n, k: F * (m * k + k * n + m * n), lambda m, n, k: 2 * m * n * k),
    "bias": elements(2, 1, 1),
    "bias_relu": elements(2, 2, 1),
    "bias_tanh": elements(2, 1 + TANH, 1),
    "bias_gelu": elements(3, 3 + TANH, 1),
    "relu_backward": elements(3, 3),
    "tanh_backward": elements(3, 4),
    "gelu_backward": elements(3, 4 + TANH + EXP),
    "softmax": elements(2, 3 + EXP + DIVIDE),
    "softmax_backward": elements(3, 5),
    "softmax_cross_entropy": Kernel(
        "rows cols", lambda r, c: 2 * F * r * c + LABEL * r, lambda r, c: (5 + EXP) * r * c, lambda card, r, c: sums(row_items(r, c))
    ),
    "squared_error": loss(3, 4),
    "sigmoid_binary_cross_entropy": loss(3, 8 + EXP + LOG + DIVIDE),
    "column_sum": Kernel(
        "rows cols",
        lambda r, c: F * (r * c + c),
        lambda r, c: r * c,
        lambda card, r, c: 1 if chunks(card, r, c) == 1 else 2,
    ),
    "sgd": flat(3, 3),
    "momentum": flat(5, 4),
    "rmsprop": flat(5, 7 + DIVIDE + ROOT),
    "adam": flat(7, 11 + DIVIDE + ROOT),
    "penalised_norm": flat(3, 9, lambda card, n: sums(packs(n))),
    "expect_finite": flat(1, 2),
    "end_step": Kernel("", lambda: 9 * DOUBLE, lambda: 10),
    "sum_slots": flat(3, 1),  # of two
    "sum_square": flat(1, 2, lambda card, n: sums(packs(n))),
    "add_penalty": flat(3, 4),
    "add": flat(2, 0),
    "multiply": flat(3, 1),
    "dropout": flat(2, 22),
    "standardize": elements(2, 1 + DIVIDE, 2),
    "gather": Kernel("rows cols", lambda r, c: 2 * F * r * c + INDEX * r, lambda r, c: 0),
    "gather_labels": Kernel("n", lambda n: (2 * LABEL + INDEX) * n, lambda n: 0),
    "count_hits": Kernel("rows cols", lambda r, c: F * r * c + LABEL * r, lambda r, c: r * c, lambda card, r, c: sums(r)),
    # rows with `each` stored numbers, of n_in; sectors of 32 bytes of W where they lie apart
    "sparse_forward": Kernel("rows units n_in each", lambda r, u, n, e: r * u * (32 * e + F) + r * e * (F + 4), lambda r, u, n, e: 2 * r * u * e),
    "sparse_backward": Kernel(
        "rows units n_in each", lambda r, u, n, e: r * u * (64 * e + F) + u * n * F + r * e * (F + 4), lambda r, u, n, e: 2 * r * u * e
    ),
    # n images (side, side, channels), padding "same", kernel x kernel
    "conv_forward": convolution(lambda *_: 1),
    "conv_backward": convolution(lambda *_: 1),
    "conv_gradient": convolution(lambda card, n, s, c, f, k: 1 if conv_chunks(card, n * s * s, c, f, k) == 1 else 2),
    "copy_in": Kernel("bytes", lambda b: b, lambda b: 0, lambda *_: 0),  # from the host: no kernel
    "copy_out": Kernel("bytes", lambda b: b, lambda b: 0, lambda *_: 0),
}


@dataclass(frozen=True)
class Call:
    """One call of a kernel."""

    kernel: str
    shape: tuple[int, ...] = ()

    @property
    def bytes(self) -> float:
        """Read and written."""
        return KERNELS[self.kernel].bytes(*self.shape)

    @property
    def operations(self) -> float:
        """Multiply-adds count as two."""
        return KERNELS[self.kernel].operations(*self.shape)

    def launches(self, card: Card) -> int:
        """Kernels that the call puts into the stream."""
        return KERNELS[self.kernel].launches(card, *self.shape)

    def copies(self) -> bool:
        """Whether it is a copy between host and card."""
        return self.kernel.startswith("copy_")

    def floor(self, card: Card) -> float:
        """Seconds below which nobody gets: bytes over bandwidth or operations over rate, whichever is longer."""
        return max(self.bytes / (card.link if self.copies() else card.bandwidth), self.operations / card.rate)

    def work(self, card: Card) -> float:
        """Seconds at work. A product's tiles go to the processors in waves, its k cut into parts where that fills more of them."""
        if self.kernel != "gemm":
            return self.floor(card)
        m, n, k = self.shape
        tiles = ceil_div(m, TILE) * ceil_div(n, TILE)

        def waves(parts: int) -> float:
            return ceil_div(tiles * parts, card.processors) * 2 * TILE * TILE * ceil_div(k, parts) / (card.rate / card.processors)

        return max(self.floor(card), min(waves(parts) for parts in range(1, max(1, k // LEAST_K) + 1)))

    def gaps(self, card: Card) -> float:
        """Seconds between kernels; a copy has one too."""
        return card.gap * (self.launches(card) + self.copies())
