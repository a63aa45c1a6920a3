# SPDX-License-Identifier: MIT
"""NOTATION.md held to its word: the flat order, every loss and penalty, and each row of the table that translates lambda."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close

Array = np.ndarray[Any, np.dtype[Any]]
NOTATION = Path(__file__).resolve().parent.parent / "NOTATION.md"


def minimise(net: cr.Network, x: Array, y: Array, penalty: Any = None, loss: Any = None) -> cr.Network:
    """The network at the minimum of its objective, by SciPy's L-BFGS from where it stands."""
    optimize = pytest.importorskip("scipy.optimize")

    def objective(theta: Array) -> tuple[float, Array]:
        return net.loss_and_gradient(x, y, theta, loss=loss, penalty=penalty)

    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-10}
    found = optimize.minimize(objective, net.flat_parameters.copy(), jac=True, method="L-BFGS-B", options=options)
    assert np.abs(found.jac).max() <= 1e-7, found.message
    net.loss_and_gradient(x, y, found.x, loss=loss, penalty=penalty)
    return net


def linear(inputs: int, outputs: int, activation: str) -> cr.Network:
    return cr.Network([cr.Input(inputs), cr.Dense(outputs, activation)], dtype="float64")


def regression(rng: np.random.Generator, n: int = 40, outputs: int = 1) -> tuple[Array, Array]:
    x = rng.normal(size=(n, 4))
    return x, 3 + x @ rng.normal(size=(4, outputs)) + 0.3 * rng.normal(size=(n, outputs))


def classes(rng: np.random.Generator, n: int = 60, k: int = 3) -> tuple[Array, Array]:
    x = rng.normal(size=(n, 4))
    return x, np.argmax(x @ rng.normal(size=(4, k)) + rng.gumbel(size=(n, k)) + np.arange(k) / 2, axis=1)


# ---- the flat order, losses, penalties --------------------------------------------------------------------------


def test_flat_order_and_shapes() -> None:
    net = cr.Network([cr.Input(3), cr.Dense(4, "tanh"), cr.Dense(2, bias=False), cr.Dense(2, "softmax")], dtype="float64")
    assert [w.shape for w in net.W] == [(4, 3), (2, 4), (2, 2)]
    parts = [net.W[0].ravel(), net.b[0], net.W[1].ravel(), net.W[2].ravel(), net.b[2]]
    assert_close(net.flat_parameters, np.concatenate(parts), 0.0)
    assert list(net.parameters) == ["dense_1.W", "dense_1.b", "dense_2.W", "dense_3.W", "dense_3.b"]


def test_shift_of_the_indices() -> None:
    """z[k+1] = a[k] @ W[k].T + b[k], a[k+1] = g(z[k+1]), a[0] = x; print(net) shows both ways of counting."""
    net = cr.Network([cr.Input(3), cr.Dense(4, "tanh"), cr.Dense(2, "softmax")], dtype="float64")
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    t = list(net.transitions(x))
    assert_close(t[0].a, x, 0.0)
    assert t[0].z is None
    z = t[0].a @ net.W[0].T + net.b[0]
    assert_close(t[1].z, z, 1e-14, atol=1e-15)
    assert_close(t[1].a, np.tanh(z), 1e-12, atol=1e-15)
    z = t[1].a @ net.W[1].T + net.b[1]
    assert_close(t[2].a, np.exp(z) / np.exp(z).sum(1, keepdims=True), 1e-12)
    shown = " ".join(str(net).split())
    assert "z^(2) = W^(1) a^(1) + w_0^(1) z[1] = a[0] @ W[0].T + b[0] W[0] (4, 3), b[0] (4,): 16" in shown
    assert "a^(3) = softmax(z^(3)) a[2] = softmax(z[2]) (n, 2)" in shown


LOSSES: dict[str, tuple[str, Callable[[Array, Array], Array]]] = {
    "cross_entropy": ("softmax", lambda y, a: -(y * np.log(a)).sum(1)),
    "binary_cross_entropy": ("sigmoid", lambda y, a: -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(1)),
    "squared_error": ("identity", lambda y, a: 0.5 * ((y - a) ** 2).sum(1)),
    "absolute_error": ("identity", lambda y, a: np.abs(y - a).sum(1)),
    "huber": ("identity", lambda y, a: np.where(np.abs(y - a) <= 1, (y - a) ** 2 / 2, np.abs(y - a) - 0.5).sum(1)),
    "quantile": ("identity", lambda y, a: (np.abs(y - a) / 2).sum(1)),
    "poisson": ("exp", lambda y, a: (a - y + y * np.log(y / a)).sum(1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_in_full(name: str, rng: np.random.Generator) -> None:
    activation, formula = LOSSES[name]
    net, x = linear(4, 3, activation), rng.normal(size=(9, 4))
    y = rng.uniform(size=(9, 3))
    y /= y.sum(1, keepdims=True)
    s = rng.uniform(size=9)
    expected = formula(y, net.predict(x))
    assert_close(net.evaluate(x, y, loss=name)["loss"], expected.mean(), 1e-12)
    assert_close(net.evaluate(x, y, loss=name, sample_weight=s)["loss"], (s * expected).sum() / s.sum(), 1e-12)
    if name not in ("absolute_error", "huber", "quantile"):  # the canonical ones follow from the activation
        assert_close(net.evaluate(x, y)["loss"], expected.mean(), 1e-12)
    assert set(LOSSES) == set(cr.losses.KNOWN)
    assert f"| `{name}` | " in NOTATION.read_text(encoding="utf-8")


def test_quantiles_of_several_targets(rng: np.random.Generator) -> None:
    """The levels fastest: column m len(q) + l of the output is the q_l-quantile of y_m, and the minimum is the data's own."""
    q, n = (0.1, 0.5, 0.9), 2001
    x, y = np.zeros((n, 1)), rng.normal(size=(n, 2)) * (1.0, 5.0) + (0.0, 20.0)
    net = linear(1, 6, "identity")
    net.fit(x, y, loss=cr.Quantile(q), optimizer=cr.Adam(cr.schedules.Step(0.5, 100, 0.5)), batch_size=None, epochs=1500)
    shares = (y[:, :, None] < net.predict(x).reshape(n, 2, 3)).mean(axis=0)
    assert_close(shares, np.array([q, q]), 0.0, atol=0.004)


PENALTIES: list[tuple[Any, Callable[[Array], float]]] = [
    (cr.L2(0.3), lambda w: 0.15 * (w**2).sum()),
    (cr.L1(0.3), lambda w: 0.3 * np.abs(w).sum()),
    (cr.ElasticNet(0.3, 0.2), lambda w: 0.3 * (0.2 * np.abs(w).sum() + 0.4 * (w**2).sum())),
    (cr.ElasticNet(0.3, 0.2, proximal=True), lambda w: 0.3 * (0.2 * np.abs(w).sum() + 0.4 * (w**2).sum())),
    (cr.L1(0.1) + cr.L2(0.2), lambda w: 0.1 * np.abs(w).sum() + 0.1 * (w**2).sum()),
    (cr.L2(0.3, per_sample=True), lambda w: 0.15 / 9 * (w**2).sum()),
]


@pytest.mark.parametrize(("penalty", "formula"), PENALTIES, ids=lambda x: "" if callable(x) else repr(x))
def test_penalties_in_full(penalty: Any, formula: Callable[[Array], float], rng: np.random.Generator) -> None:
    """Value, gradient, and that the biases are free."""
    net, (x, y) = linear(4, 2, "identity"), regression(rng, 9, 2)
    net.b[0][...] = 5.0
    without, g0 = net.loss_and_gradient(x, y)
    value, g = net.loss_and_gradient(x, y, penalty=penalty)
    w = net.W[0].copy()
    assert_close(value - without, formula(w), 1e-12)
    expected = np.zeros_like(g)
    for i in range(w.size):
        step = np.zeros(w.size)
        step[i] = 1e-6
        expected[i] = (formula(w.ravel() + step) - formula(w.ravel() - step)) / 2e-6
    assert_close(g - g0, expected, 1e-7, atol=1e-9)


# ---- lambda, by the objectives as the other libraries write them ---------------------------------------------------


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def cross_entropy(y: Array, z: Array) -> Array:
    return -(y * np.log(softmax(z))).sum(1)


def binary(y: Array, z: Array) -> Array:
    return (np.logaddexp(0, z) - y * z).sum(1)


def squared(y: Array, z: Array) -> Array:
    return 0.5 * ((y - z) ** 2).sum(1)


N, M, LAM = 12, 3, 0.7
# name in the table, loss of a row, their objective(w, b, L by row), lam here, whether biases count, their objective / ours
ROWS: list[tuple[str, Any, Callable[..., float], float, bool, float]] = [
    ("MLPClassifier", cross_entropy, lambda w, b, L: L.mean() + LAM / (2 * N) * (w**2).sum(), LAM / N, False, 1),
    ("LogisticRegression", cross_entropy, lambda w, b, L: LAM * L.sum() + (w**2).sum() / 2, 1 / (N * LAM), False, N * LAM),
    ("Ridge", squared, lambda w, b, L: 2 * L.sum() + LAM * (w**2).sum(), LAM / N, False, 2 * N),
    ("glmnet", cross_entropy, lambda w, b, L: L.mean() + LAM / 2 * (w**2).sum(), LAM, False, 1),
    ("R, nnet", cross_entropy, lambda w, b, L: L.sum() + LAM * ((w**2).sum() + (b**2).sum()), 2 * LAM / N, True, N),
    ("R, nnet", squared, lambda w, b, L: 2 * L.sum() + LAM * ((w**2).sum() + (b**2).sum()), LAM / N, True, 2 * N),
    ("Keras", cross_entropy, lambda w, b, L: L.mean() + LAM * (w**2).sum(), 2 * LAM, False, 1),
    ("Keras", squared, lambda w, b, L: 2 * L.sum() / (N * M) + LAM * (w**2).sum(), M * LAM, False, 2 / M),
    ("Keras", binary, lambda w, b, L: L.sum() / (N * M) + LAM * (w**2).sum(), 2 * M * LAM, False, 1 / M),
    ("PyTorch", cross_entropy, lambda w, b, L: L.mean() + LAM / 2 * ((w**2).sum() + (b**2).sum()), LAM, True, 1),
    ("PyTorch", squared, lambda w, b, L: 2 * L.sum() / (N * M) + LAM / 2 * ((w**2).sum() + (b**2).sum()), M * LAM / 2, True, 2 / M),
]


@pytest.mark.parametrize(("name", "loss", "theirs", "lam", "bias", "factor"), ROWS, ids=[f"{r[0]}-{r[1].__name__}" for r in ROWS])
def test_objective_there_is_a_multiple_of_ours(
    name: str, loss: Any, theirs: Any, lam: float, bias: bool, factor: float, rng: np.random.Generator
) -> None:
    """At any parameters, so at the minimum too. This needs none of the libraries: it is the derivation."""
    assert f"| {name}" in NOTATION.read_text() or f", `{name}`" in NOTATION.read_text()
    activation = {cross_entropy: "softmax", binary: "sigmoid", squared: "identity"}[loss]
    net, x = linear(4, M, activation), rng.normal(size=(N, 4))
    y = np.eye(M)[rng.integers(0, M, N)]
    for _ in range(3):
        w, b = rng.normal(size=(M, 4)), rng.normal(size=M)
        ours, _ = net.loss_and_gradient(x, y, np.concatenate([w.ravel(), b]), penalty=cr.L2(lam, bias=bias))
        assert_close(theirs(w, b, loss(y, x @ w.T + b)), factor * ours, 1e-12)


# ---- lambda, against the libraries themselves -------------------------------------------------------------------------


@pytest.mark.parametrize("per_sample", [False, True])
def test_sklearn_mlp(rng: np.random.Generator, per_sample: bool) -> None:
    """Where their L-BFGS ended our gradient is zero under the translated lambda, and only there."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    alpha = 2.0
    settings = {"hidden_layer_sizes": (5,), "activation": "tanh", "solver": "lbfgs", "alpha": alpha, "tol": 1e-10}
    for model, output, (x, y) in [
        (neural_network.MLPClassifier, cr.Dense(3, "softmax"), classes(rng)),
        (neural_network.MLPRegressor, cr.Dense(1), regression(rng)),
    ]:
        theirs = model(**settings, max_iter=20_000, max_fun=100_000, random_state=0).fit(x, y.ravel())
        net = cr.Network([cr.Input(4), cr.Dense(5, "tanh"), output], dtype="float64")
        theta = np.concatenate([p.ravel() for w, b in zip(theirs.coefs_, theirs.intercepts_, strict=True) for p in (w.T, b)])
        penalty = cr.L2(alpha, per_sample=True) if per_sample else cr.L2(alpha / len(x))
        value, g = net.loss_and_gradient(x, y, theta, penalty=penalty)
        assert_close(value, theirs.loss_, 1e-12)
        assert np.abs(g).max() <= 1e-4  # SciPy's ftol, which scikit-learn leaves at its default, ends theirs here
        _, wrong = net.loss_and_gradient(x, y, theta, penalty=cr.L2(2 * alpha / len(x)))
        assert np.abs(wrong).max() >= 1e-3


@pytest.mark.parametrize("k", [2, 3])
def test_sklearn_logistic_regression(rng: np.random.Generator, k: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    (x, y), C = classes(rng, k=k), 0.5
    theirs = linear_model.LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(x, y)
    net = linear(4, 3, "softmax") if k == 3 else linear(4, 1, "sigmoid")
    minimise(net, x, y, cr.L2(1 / (len(x) * C)))
    assert_close(net.W[0], theirs.coef_, 1e-4, atol=1e-5)
    ours = net.predict(x) if k == 3 else np.hstack([1 - net.predict(x), net.predict(x)])
    assert_close(ours, theirs.predict_proba(x), 1e-4, atol=1e-6)


def test_sklearn_ridge(rng: np.random.Generator) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    (x, y), alpha = regression(rng, outputs=2), 7.0
    theirs = linear_model.Ridge(alpha=alpha, solver="cholesky").fit(x, y)
    net = minimise(linear(4, 2, "identity"), x, y, cr.L2(alpha / len(x)))
    assert_close(net.W[0], theirs.coef_, 1e-6, atol=1e-7)
    assert_close(net.b[0], theirs.intercept_, 1e-6)


def test_sklearn_poisson_regressor(rng: np.random.Generator) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = rng.normal(size=(80, 4))
    y, alpha = rng.poisson(np.exp(0.5 + x @ [0.5, -0.3, 0.0, 0.2])).astype(float), 0.1
    theirs = linear_model.PoissonRegressor(alpha=alpha, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x, y)
    net = minimise(linear(4, 1, "exp"), x, y, cr.L2(alpha))
    assert_close(net.W[0][0], theirs.coef_, 1e-6, atol=1e-7)
    assert_close(net.b[0], [theirs.intercept_], 1e-6)
    assert_close(net.predict(x)[:, 0], theirs.predict(x), 1e-6)


def stationary(net: cr.Network, x: Array, y: Array, theta: Array, l1: float, l2: float, tol: float) -> None:
    """theta minimises mean L + l1 sum |w| + l2 / 2 sum w^2: |dL/dw + l2 w| = l1 against w's sign, at most l1 where w = 0, db = 0."""
    _, g = net.loss_and_gradient(x, y, theta, penalty=cr.L2(l2))
    at_w, at_b = g[: net.W[0].size], g[net.W[0].size :]
    w = net.W[0].ravel()
    assert np.any(w != 0)
    assert np.abs(at_b).max() <= tol
    assert np.abs(at_w + l1 * np.sign(w))[w != 0].max() <= tol
    assert np.all(np.abs(at_w[w == 0]) <= l1 + tol)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_sklearn_elastic_net(rng: np.random.Generator, l1_ratio: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    (x, y), alpha = regression(rng), 0.2
    theirs = linear_model.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000).fit(x, y.ravel())
    l1, l2 = cr.ElasticNet(alpha, l1_ratio).coefficients()
    stationary(linear(4, 1, "identity"), x, y, np.append(theirs.coef_, theirs.intercept_), l1, l2, 1e-7)


def run_r(tmp_path: Path, code: str, package: str, **arrays: Array) -> Array:
    """The numbers that R code prints, its variables read from files; skips without Rscript or the package."""
    rscript = shutil.which("Rscript")
    if rscript is None:
        pytest.skip("Rscript is not installed")
    lines = [f"if (!suppressMessages(require({package}, quietly = TRUE))) quit(status = 77)"]
    for name, a in arrays.items():
        np.savetxt(tmp_path / f"{name}.txt", a, fmt="%.17g")
        lines.append(f'{name} <- as.matrix(read.table("{(tmp_path / f"{name}.txt").as_posix()}"))')
    lines += [code, 'cat("RESULT", format(result, digits = 17), "\\n")']
    (tmp_path / "code.R").write_text("\n".join(lines))
    done = subprocess.run([rscript, str(tmp_path / "code.R")], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(f"R has no package {package}")
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split("RESULT")[1].split(), dtype=np.float64)


@pytest.mark.parametrize("kind", ["linout", "entropy", "softmax"])
def test_r_nnet(rng: np.random.Generator, tmp_path: Path, kind: str) -> None:
    """nnet without hidden units is convex; its weights stand as (bias, inputs) for each output."""
    decay = 0.4
    outputs = 1 if kind == "entropy" else 3
    if kind == "linout":
        x, y = regression(rng, outputs=3)
    else:
        x, labels = classes(rng, k=max(outputs, 2))
        y = labels[:, None].astype(float) if kind == "entropy" else np.eye(3)[labels]
    end = "maxit = 10000, abstol = 1e-14, reltol = 1e-14, rang = 0.1, trace = FALSE"
    code = f"set.seed(1)\nresult <- nnet(x, y, size = 0, skip = TRUE, {kind} = TRUE, decay = {decay}, {end})$wts"
    theirs = run_r(tmp_path, code, "nnet", x=x, y=y).reshape(outputs, 5)
    net = linear(4, outputs, {"linout": "identity", "entropy": "sigmoid", "softmax": "softmax"}[kind])
    minimise(net, x, y, cr.L2((1 if kind == "linout" else 2) * decay / len(x), bias=True))
    assert_close(net.b[0], theirs[:, 0], 1e-3, atol=1e-4)
    assert_close(net.W[0], theirs[:, 1:], 1e-3, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("family", ["gaussian", "binomial", "multinomial"])
def test_r_glmnet(rng: np.random.Generator, tmp_path: Path, family: str, alpha: float) -> None:
    lam = 0.05
    x, y = regression(rng) if family == "gaussian" else classes(rng, k=2 if family == "binomial" else 3)
    sizes = f'alpha = {alpha}, lambda = {lam}, standardize = FALSE, thresh = 1e-16, maxit = 1e7, family = "{family}"'
    outputs = 3 if family == "multinomial" else 1
    read = "result <- unlist(lapply(coef(f), as.vector))" if outputs == 3 else "result <- as.vector(coef(f))"
    code = f"f <- glmnet(x, y[, 1], {sizes})\n{read}"
    theirs = run_r(tmp_path, code, "glmnet", x=x, y=np.asarray(y, dtype=float).reshape(len(x), 1)).reshape(outputs, 5)
    theta = np.concatenate([theirs[:, 1:].ravel(), theirs[:, 0]])
    activation = {"gaussian": "identity", "binomial": "sigmoid", "multinomial": "softmax"}[family]
    l2 = lam * (1 - alpha) / (np.std(y) if family == "gaussian" else 1.0)
    stationary(linear(4, outputs, activation), x, y, theta, lam * alpha, float(l2), 1e-5)


@pytest.mark.parametrize("kind", ["CrossEntropyLoss", "MSELoss", "AdamW"])
def test_pytorch_weight_decay(rng: np.random.Generator, kind: str) -> None:
    """Five full-batch steps from the same weights."""
    torch = pytest.importorskip("torch")
    alpha, decay, m = 0.1, 0.3, 3
    net = cr.Network([cr.Input(4), cr.Dense(5, "tanh"), cr.Dense(m, "identity" if kind == "MSELoss" else "softmax")], dtype="float64")
    x, y = regression(rng, outputs=m) if kind == "MSELoss" else classes(rng, k=m)
    layers = [torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, m)]
    theirs = torch.nn.Sequential(*layers).double()
    with torch.no_grad():
        for linear_layer, w, b in zip((layers[0], layers[2]), net.W, net.b, strict=True):
            linear_layer.weight.copy_(torch.from_numpy(w.copy()))
            linear_layer.bias.copy_(torch.from_numpy(b.copy()))
    loss = torch.nn.MSELoss() if kind == "MSELoss" else torch.nn.CrossEntropyLoss()
    rule = torch.optim.AdamW if kind == "AdamW" else torch.optim.SGD
    optimizer = rule(theirs.parameters(), lr=alpha, weight_decay=decay)
    for _ in range(5):
        optimizer.zero_grad()
        loss(theirs(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
    if kind == "AdamW":
        arguments: dict[str, Any] = {"optimizer": cr.AdamW(alpha, lam=decay)}
    elif kind == "MSELoss":  # their objective is 2 / m times ours
        arguments = {"optimizer": cr.SGD(alpha * 2 / m), "penalty": cr.L2(decay * m / 2, bias=True)}
    else:
        arguments = {"optimizer": cr.SGD(alpha), "penalty": cr.L2(decay, bias=True)}
    net.fit(x, y, epochs=5, batch_size=None, **arguments)
    expected = torch.cat([p.detach().reshape(-1) for p in theirs.parameters()]).numpy()
    assert_close(net.flat_parameters, expected, 1e-9, atol=1e-11)
