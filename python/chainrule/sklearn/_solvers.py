# SPDX-License-Identifier: MIT
"""How the network is fitted: epochs in the core with scikit-learn's stopping rules between them, and SciPy's L-BFGS-B."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

import chainrule as cr
from chainrule.sklearn import _params
from chainrule.sklearn._compat import Tasks
from chainrule.sklearn._network import weighted

__all__ = ["NON_FINITE", "Problem", "Rate", "fit_epochs", "fit_lbfgs"]

Array = npt.NDArray[Any]
SCIPY_FTOL = 2.2204460492503131e-09
NON_FINITE = "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."


@dataclass
class Problem:
    """The rows to fit, as the core takes them."""

    X: Any
    y: Any
    weight: Array | None
    loss: Any
    outputs: int  # by which the loss is divided where it is shown: scikit-learn's squared error is a mean over the outputs, its gradient a sum
    validation: tuple[Any, ...] | None = None  # (X, y) or (X, y, weight)
    score: Callable[[Any], float] | None = None  # of the network's outputs for the validation rows
    augment: cr.Augment | None = None

    def shown(self, value: float, penalty: float) -> float:
        """The objective on scikit-learn's scale."""
        return value if self.outputs == 1 else (value - penalty) / self.outputs + penalty


class Rate:
    """The step size between epochs. Only sgd changes it."""

    def __init__(self, estimator: Any) -> None:
        self.rule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.first = self.learning_rate = float(estimator.learning_rate_init)
        self.power = estimator.power_t

    def after_epoch(self, rows_seen: int) -> None:
        """invscaling: rate = first / (rows seen + 1)^power."""
        if self.rule == "invscaling":
            self.learning_rate = self.first / (rows_seen + 1) ** self.power

    def after_plateau(self, message: str, verbose: Any) -> bool:
        """Whether to stop; adaptive: only once a fifth of the rate would be too small."""
        stop, end = True, "Stopping."
        if self.rule == "adaptive" and self.learning_rate <= 1e-6:
            end = "Learning rate too small. Stopping."
        elif self.rule == "adaptive":
            self.learning_rate /= 5
            stop, end = False, f"Setting learning rate to {self.learning_rate:f}"
        if verbose:
            print(message, end)
        return stop


class Monitor(cr.Callback):
    """scikit-learn's decisions after each epoch; its counters stand on the estimator, where a warm start finds them."""

    def __init__(self, estimator: Any, problem: Problem, tasks: Tasks, once: bool) -> None:
        self.e, self.problem, self.tasks, self.once = estimator, problem, tasks, once
        self.done = False
        self.best: Array | None = None
        self.talks = bool(estimator.verbose) and estimator.verbose != "progress"

    def on_fit_begin(self, net: cr.Network, epochs: int) -> None:
        """Remember where a warm start stands; the first epoch begins."""
        if self.e.early_stopping and self.best is None:
            self.best = net.flat_parameters.copy()
        self.tasks.begin("epoch")

    def on_epoch_end(self, net: cr.Network, epoch: int, record: Mapping[str, float]) -> bool:
        """Note the loss, judge it, and say whether the core's loop ends: for good, or to go on with another rate."""
        e = self.e
        e.n_iter_ += 1
        e.loss_ = self.problem.shown(record["loss"], record.get("penalty", 0.0))
        e.t_ += self.problem.X.shape[0]
        e.loss_curve_.append(e.loss_)
        if self.talks:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        rate = e._optimizer.learning_rate
        self.judge(net, record)
        e._optimizer.after_epoch(e.t_)
        if e._no_improvement_count > e.n_iter_no_change:
            what = f"Validation {e.monitor}" if e.early_stopping else "Training loss"
            message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
            self.done = e._optimizer.after_plateau(message, self.talks)
            if not self.done:
                e._no_improvement_count = 0
        self.done = self.tasks.end() or self.done or self.once
        if e.n_iter_ == e.max_iter and not self.done:
            self.done = True
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )
        stop = self.done or rate != e._optimizer.learning_rate
        if not stop:
            self.tasks.begin("epoch")
        return stop

    def judge(self, net: cr.Network, record: Mapping[str, float]) -> None:
        """Count the epochs without improvement."""
        e = self.e
        if self.problem.score is not None and self.problem.validation is not None:
            e.validation_loss_curve_.append(self.problem.shown(record["validation_loss"], 0.0))
            e.validation_scores_.append(self.problem.score(net.predict(self.problem.validation[0])))
            if self.talks:
                print(f"Validation score: {e.validation_scores_[-1]:f}")
        if not e.early_stopping:
            value, best = e.loss_, e.best_loss_
            e._no_improvement_count = e._no_improvement_count + 1 if value > best - e.tol else 0
            e.best_loss_ = min(value, best)
            return
        by_score = e.monitor == "score"
        value = e.validation_scores_[-1] if by_score else -e.validation_loss_curve_[-1]
        e._no_improvement_count = e._no_improvement_count + 1 if value < e._best_value + e.tol else 0
        if value > e._best_value:
            e._best_value = value
            e.best_validation_score_ = e.validation_scores_[-1]
            self.best = net.flat_parameters.copy()


class Shuffled:
    """scikit-learn's order of the rows, epoch after epoch: each shuffles the one before."""

    def __init__(self, rng: np.random.RandomState) -> None:
        self.rng = rng
        self.order: Array | None = None

    def __call__(self, n: int) -> Array:
        order: Array = self.rng.permutation(n)
        self.order = order if self.order is None else self.order[order]
        return self.order


def fit_epochs(estimator: Any, net: cr.Network, problem: Problem, batch: int | None, rng: np.random.RandomState, tasks: Tasks, once: bool) -> None:
    """Run epochs in the core until a rule ends them. One call of ``net.fit`` unless the rate changes."""
    monitor = Monitor(estimator, problem, tasks, once)
    shuffle = Shuffled(rng) if estimator.shuffle else False
    penalty = _params.penalties(estimator, weighted(net))
    estimator.n_iter_ = 0
    try:
        while not monitor.done:
            net.fit(
                problem.X,
                problem.y,
                loss=problem.loss,
                optimizer=_params.optimizer(estimator, estimator._optimizer.learning_rate),
                penalty=penalty,
                epochs=1 if once else estimator.max_iter - estimator.n_iter_,
                batch_size=batch,
                shuffle=shuffle,
                sample_weight=problem.weight,
                validation=problem.validation,
                augment=problem.augment,
                callbacks=[monitor],
                progress=estimator.verbose == "progress",
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    except cr.DivergenceError as error:
        tasks.end()
        if monitor.best is None:
            raise ValueError(NON_FINITE) from error
        estimator.validation_scores_.append(float("nan"))  # the best weights so far are put back
    if monitor.best is not None:
        net.flat_parameters[...] = monitor.best


def fit_lbfgs(estimator: Any, net: cr.Network, problem: Problem, tasks: Tasks) -> None:
    """Minimise the objective of all rows by L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995).

    With l1, w = u - v with u, v >= 0 makes |w| = u + v linear and the bounds L-BFGS-B's own: its zeros are exact.
    """
    from scipy.optimize import minimize

    names = weighted(net)
    l2 = _params.penalties(estimator, names, l1=False)
    smooth = net.objective(problem.X, problem.y, loss=problem.loss, penalty=l2, sample_weight=problem.weight)
    total = float(problem.X.shape[0] if problem.weight is None else problem.weight.sum())
    lam = _by_parameter(net, _params.by_transition("l1", estimator.l1, len(names))) / total
    two = np.flatnonzero(lam)  # parameters with a v beside their u
    start = net.flat_parameters.astype(np.float64)
    count = start.size
    theta = np.concatenate([start, np.maximum(-start[two], 0)])
    theta[two] = np.maximum(start[two], 0)
    low = np.full(len(theta), -np.inf)
    low[two] = low[count:] = 0

    def joined(theta: Array) -> Array:
        w: Array = theta[:count].copy()
        w[two] -= theta[count:]
        return w

    def objective(theta: Array) -> tuple[float, Array]:
        try:
            value, gradient = smooth(joined(theta))
        except ValueError:  # a step too far: the loss has left the finite numbers
            return np.inf, np.zeros(len(theta))
        if not len(two):
            return value, gradient
        slope = lam[two]
        gradient = np.concatenate([gradient, slope - gradient[two]])
        gradient[two] += slope
        return value + float(slope @ (theta[two] + theta[count:])), gradient

    # near an optimum the objective is above it by a multiple of the squared gradient: SciPy's default would end a search for a small tol too early
    ftol = np.clip(estimator.tol**2, np.finfo(float).eps, SCIPY_FTOL)
    iteration = 0

    def after_iteration(intermediate_result: Any) -> None:
        nonlocal iteration
        iteration += 1
        if estimator.verbose:
            print(f"Iteration {iteration}, loss = {intermediate_result.fun:.8f}")
        if tasks.heard:
            net.flat_parameters[...] = joined(intermediate_result.x)
        if tasks.end():
            raise StopIteration
        tasks.begin("lbfgs-iter")

    tasks.begin("lbfgs-iter")
    with _pools().limit(limits=1, user_api="blas"):  # the solver's own vectors are short: two threads of SciPy's BLAS take longer than one
        result = minimize(
            objective,
            theta,
            method="L-BFGS-B",
            jac=True,
            bounds=[(b, None) for b in low] if len(two) else None,
            options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol, "ftol": ftol},
            callback=after_iteration if estimator.verbose or tasks.heard else None,
        )
    tasks.end()
    if not (np.isfinite(result.fun) and np.isfinite(result.x).all()):
        net.flat_parameters[...] = start
        raise ValueError(NON_FINITE)
    w = net.flat_parameters
    w[...] = joined(result.x)
    value = float(result.fun) + float(lam @ np.abs(w) - lam[two] @ (result.x[two] + result.x[count:]))  # u + v is |w| at the optimum only
    alpha = _by_parameter(net, _params.by_transition("alpha", estimator.alpha, len(names))) / total
    estimator.n_iter_ = min(int(result.nit), estimator.max_iter)
    estimator.loss_ = problem.shown(value, float(lam @ np.abs(w) + alpha @ np.square(w) / 2))
    if result.status not in (0, 99):  # 99: a callback has asked to stop
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n{result.message}\n\n"
            "You might also want to scale the data, or to increase max_iter.",
            ConvergenceWarning,
            stacklevel=2,
        )


@cache
def _pools() -> ThreadpoolController:
    """The thread pools of the libraries that are loaded, looked for once."""
    return ThreadpoolController()


def _by_parameter(net: cr.Network, strengths: list[float]) -> Array:
    """Return the strength of each entry of ``net.flat_parameters``: 0 for biases."""
    by_layer = dict(zip(weighted(net), strengths, strict=True))
    return np.concatenate([np.full(t["size"], 0.0 if t["bias"] else by_layer[t["layer"]]) for t in net._table])
