# SPDX-License-Identifier: MIT
"""Random numbers are part of the format (contract 11): published vectors, and values frozen under random_version 1.

A failure here means that networks no longer start from, or train on, the numbers of earlier versions: raise
random_version, or undo it.
"""

from __future__ import annotations

import numpy as np
import pytest
from chainrule import _core
from chainrule.reference import uniform_words
from compare import assert_close

SEED = 0x123456789ABCDEF0
STREAM = 0x5928A8  # of "dropout_1"

# Words 0 .. 9 of (SEED, step 7, purpose, STREAM), computed by chainrule.reference, which shares no code with the core.
WORDS = {
    "init": "9950365c bedfab8c f229085d afea9a64 405507ca 9bf3af37 294b5427 9d5cd27e a5f13173 5bd05b3c",
    "shuffle": "6f306c96 ef618b9e c474a446 b02c3e84 812e51bd e6a2d9d0 f7c906c7 41d1dca2 9c7d548f 611c2910",
    "dropout": "255db3e8 9bbb07a6 1ad3618f 79d18e29 17143891 57a5785d dd64e163 410c92b1 de252cd0 e7c377c6",
    "augment": "f19b83cb 0752ca00 5043be9f 523ca3eb 6c703219 0a4f9bd3 add19ba5 9a5f2a74 2057c6c3 1751e987",
    "split": "a5d4442b 7cf32d92 ff659420 90bee799 bdafa51b fb089cce b67e9332 5ced8cef 89f85553 43df547d",
    "sample": "cf312f8d 5409ed57 9d42d8f8 b09a8fcd a7300911 b01753c4 b2daec07 83a660c6 340a7e1d 11b66f09",
}
# Rows 0 .. 9 of the order of n rows, epoch 7
ORDERS = [
    ("shuffle", 10, [4, 6, 9, 8, 1, 5, 3, 0, 2, 7]),
    ("split", 10, [9, 1, 5, 4, 0, 2, 3, 6, 7, 8]),
    ("shuffle", 1 << 20, [341105, 813437, 246421, 105392, 842125, 749062, 687451, 312493, 941950, 471748]),
    ("shuffle", (1 << 20) + 1, [684943, 376820, 748154, 1028677, 744096, 439471, 641242, 988591, 70279, 512164]),
]
# fan_in 64, fan_out 128
WEIGHTS = {
    "glorot_uniform": [
        0.13711424845938744, -0.09043026882187404, -0.028918418477604013, -0.024878549040606296, -0.045730433078985416,
        0.04509327562708007, -0.04718850527885332, 0.17252967331718652, 0.10080894138062027, 0.09070947597050857,
    ],
    "he_normal": [
        0.003128684346206394, 0.08618014446065309, -0.21097754609237612, 0.09987363357558149, -0.17327478646635025,
        -0.1789025004338447, 0.24974563821404647, -0.018885698741437355, 0.0050706459261184635, -0.12285500567809077,
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # kat_vectors of Random123, philox4x32 with 10 rounds
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_published_vectors(counter: str, key: str, words: str) -> None:
    assert _core.philox4x32(hexadecimal(counter), hexadecimal(key)) == hexadecimal(words)


def hexadecimal(words: str) -> list[int]:
    return [int(word, 16) for word in words.split()]


def test_version() -> None:
    assert _core.random_version == 1


@pytest.mark.parametrize("purpose", list(WORDS))
def test_words_are_frozen(purpose: str) -> None:
    assert _core.random_words(SEED, 7, purpose, STREAM, 0, 10).tolist() == hexadecimal(WORDS[purpose])


@pytest.mark.parametrize("first", [0, 1, 4, 4 * (2**32 - 1) + 1])
@pytest.mark.parametrize("n", [0, 1, 13])
def test_words_are_those_of_the_reference(first: int, n: int) -> None:
    """The last start carries from the low to the high word of the counter."""
    expected = uniform_words(first, n, SEED, 9, STREAM, "augment")
    assert _core.random_words(SEED, 9, "augment", STREAM, first, n).tolist() == expected.tolist()


def test_streams_of_names() -> None:
    """FNV-1a 32 of "", "a" and "foobar" is 811c9dc5, e40c292c and bf9cf968 (its authors' vectors); 24 bits of it."""
    assert [_core.stream_of(s) for s in ("", "a", "foobar")] == [0x1C9DC5 ^ 0x81, 0x0C292C ^ 0xE4, 0x9CF968 ^ 0xBF]
    assert _core.stream_of("dropout_1") == STREAM
    assert _core.stream_of("dense_1.W") == 0xE768A3


@pytest.mark.parametrize(("purpose", "n", "rows"), ORDERS)
def test_orders_are_frozen(purpose: str, n: int, rows: list[int]) -> None:
    assert _core.permutation(SEED, 7, purpose, n, 0, 10).tolist() == rows


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_order_by_its_formula(n: int) -> None:
    """Fisher-Yates, inside-out: p_i = p_j, p_j = i with j = floor(x_i (i + 1) / 2^64), x_i the i-th pair of words."""
    words = uniform_words(0, 2 * n, SEED, 3, 0, "shuffle").tolist()
    p: list[int] = []
    for i in range(n):
        j = (words[2 * i] | words[2 * i + 1] << 32) * (i + 1) >> 64
        p.append(i)
        p[i], p[j] = p[j], i
    assert _core.permutation(SEED, 3, "shuffle", n).tolist() == p


def test_large_order_by_its_formula() -> None:
    """Feistel network on the bits of n - 1 with eight round keys, walked until the row is below n."""
    n = 3_000_000
    bits = (n - 1).bit_length()
    right_bits = bits // 2
    right_mask, left_mask = (1 << right_bits) - 1, (1 << (bits - right_bits)) - 1
    keys = uniform_words(0, 8, SEED, 3, 0, "shuffle").tolist()

    def fold(product: int) -> int:
        return (product >> 32) ^ (product & 0xFFFFFFFF)

    def mix(half: int, key: int) -> int:
        return fold(0xCD9E8D57 * fold(0xD2511F53 * (half ^ key)))

    def row(i: int) -> int:
        left, right = i >> right_bits, i & right_mask
        for r in range(0, 8, 2):
            left ^= mix(right, keys[r]) & left_mask
            right ^= mix(left, keys[r + 1]) & right_mask
        i = left << right_bits | right
        return i if i < n else row(i)

    first = n - 500
    assert _core.permutation(SEED, 3, "shuffle", n, first).tolist() == [row(i) for i in range(first, n)]


def test_order_in_parts() -> None:
    for n in (1000, (1 << 20) + 1):
        whole = _core.permutation(1, 2, "shuffle", n)
        assert np.array_equal(np.sort(whole), np.arange(n))
        starts = range(0, n, 300_000)
        parts = [_core.permutation(1, 2, "shuffle", n, first, min(300_000, n - first)) for first in starts]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("kind", list(WEIGHTS))
def test_weights_are_frozen(kind: str) -> None:
    """Normals go through the C library's log, cos and sin, whose last bit is not ours to freeze."""
    rtol = 0.0 if kind.endswith("uniform") else 1e-14
    expected = np.array(WEIGHTS[kind])
    assert_close(_core.initialise_float64(kind, 10, 64, 128, SEED, STREAM), expected, rtol)
    single = _core.initialise_float32(kind, 10, 64, 128, SEED, STREAM)
    assert_close(single, expected.astype(np.float32), 0.0, dtype="float32")


@pytest.mark.parametrize(("family", "variance"), [("glorot", 2 / (300 + 50)), ("he", 2 / 300), ("lecun", 1 / 300)])
def test_weights_by_their_formula(family: str, variance: float) -> None:
    u = uniform_words(0, 1002, SEED, 0, STREAM, "init").astype(np.float64)
    bound = np.sqrt(3 * variance)
    uniform = _core.initialise_float64(f"{family}_uniform", 1001, 300, 50, SEED, STREAM)
    assert_close(uniform, (bound * (2 * (u + 0.5) / 2**32 - 1))[:1001], 1e-15, atol=1e-16)
    radius, angle = np.sqrt(-2 * variance * np.log((u[::2] + 0.5) / 2**32)), 2 * np.pi * u[1::2] / 2**32
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:1001]
    assert_close(_core.initialise_float64(f"{family}_normal", 1001, 300, 50, SEED, STREAM), normal, 1e-14, atol=1e-16)


def test_zeros() -> None:
    assert_close(_core.initialise_float32("zeros", 5, 0, 0, SEED, STREAM), np.zeros(5, dtype=np.float32), 0.0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"no initializer 'he': expected one of glorot_uniform, .*zeros"):
        _core.initialise_float64("he", 1, 1, 1, 0, 0)
    with pytest.raises(ValueError, match=r"\[he_normal\] n is 3, fan_in 0"):
        _core.initialise_float64("he_normal", 3, 0, 1, 0, 0)
    with pytest.raises(ValueError, match="no purpose 'shufle': expected one of init"):
        _core.permutation(0, 0, "shufle", 3)
    with pytest.raises(ValueError, match="n is -1"):
        _core.permutation(0, 0, "shuffle", -1)
    for first, count in [(-1, 1), (0, 4), (3, 1), (4, 0), (2**62, 2**62), (0, -1)]:
        with pytest.raises(ValueError, match=f"first is {first}, count {count}, n 3"):
            _core.permutation(0, 0, "shuffle", 3, first, count)
