# SPDX-License-Identifier: MIT
"""The network: a spec, its flat blocks, and the textbook's formulas as methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule import intake, training
from chainrule.gradients import Gradient, GradientCheck, Transition, check_gradient
from chainrule.graph import chain_spec, graph_spec
from chainrule.history import History
from chainrule.layers import Layer
from chainrule.losses import Loss
from chainrule.optim import Optimizer
from chainrule.structure import Structure

if TYPE_CHECKING:
    from chainrule.ranges import ActivationRanges

__all__ = ["Network", "load"]

Array = npt.NDArray[Any]


class Network(Structure):
    """A network of layers: a chain, or any directed acyclic graph.

    z[k+1] = a[k] @ W[k].T + b[k], a[k+1] = g[k+1](z[k+1]), a[0] = x.

    Parameters
    ----------
    layers : sequence of layers, optional
        A chain; begins with an :class:`Input`.
    inputs, outputs : node or sequence of nodes, optional
        A graph: what the layers were called on, and what came out.
    seed : int or None
        Decides the initial weights, the order of the batches and the dropout masks. None draws one.
    dtype : {"float32", "float64"}
    device : str
        "cpu"; "cuda" or "cuda:1" with the package chainrule-cuda and a card (docs/cuda.md).

    Raises
    ------
    ValueError, TypeError
        Naming the layer, what came and what was expected.
    RuntimeError
        The device cannot be used: why, and what to do.

    Examples
    --------
    >>> import chainrule as cr
    >>> net = cr.Network([cr.Input(4), cr.Dense(8, "relu"), cr.Dense(3, "softmax")], seed=0)
    >>> net.W[0].shape, net.b[1].shape
    ((8, 4), (3,))
    """

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        *,
        inputs: Any = None,
        outputs: Any = None,
        seed: int | None = 0,
        dtype: npt.DTypeLike = "float32",
        device: str = "cpu",
    ) -> None:
        if (layers is None) == (inputs is None and outputs is None):
            raise ValueError("[network] expected either a list of layers, or inputs= and outputs=")
        if layers is not None:
            if isinstance(layers, Layer) or not isinstance(layers, Sequence):
                raise TypeError(f"[network] got {type(layers).__name__}: expected a list of layers")
            spec = chain_spec(layers)
        else:
            if inputs is None or outputs is None:
                raise ValueError("[network] a graph needs both inputs= and outputs=")
            spec = graph_spec(_listed(inputs), _listed(outputs))
        self._setup(spec, seed, dtype, device)

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, seed: int | None = 0, dtype: npt.DTypeLike = "float32", device: str = "cpu") -> Network:
        """Build a network from the dict that ``net.spec`` returns."""
        if not isinstance(spec, dict):
            raise TypeError(f"[network] spec is a {type(spec).__name__}: expected a dict, as net.spec returns")
        net = cls.__new__(cls)
        net._setup(spec, seed, dtype, device)
        return net

    # ---- using it ---------------------------------------------------------------------------------------------------------------------

    def predict(self, X: Any) -> Any:
        """Return a[K-1], of shape (n, ...): an array, or a tuple of arrays for several outputs. A NaN in a row stays in that row.

        X is what :meth:`fit` takes, dense or sparse. From rows on the network's own CUDA device (CuPy, PyTorch, JAX) come arrays that lie there
        (``torch.from_dlpack(a)``, ``numpy.asarray(a)``).
        """
        out = self._direct(X)
        if out is not None:
            return out
        outputs = self._core.predict(intake.inputs(self, X))
        if isinstance(outputs[0], tuple):
            from chainrule.device import results

            outputs = results(self, outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    __call__ = predict

    def evaluate(self, X: Any, y: Any, *, loss: Any = None, loss_weights: Any = None, sample_weight: Any = None) -> dict[str, float]:
        """Return {"loss": sum s_i L_i / sum s_i, "accuracy": ...} (accuracy for the cross-entropies), without penalties and dropout."""
        arrays = intake.inputs(self, X)
        losses = intake.resolve_losses(self, loss, loss_weights)
        targets = intake.targets(self, y, losses, sample_weight, len(arrays[0]))
        if len(arrays[0]) == 0:
            raise ValueError("[evaluate] X has no rows")
        value, accuracy = self._core.evaluate(arrays, targets, intake.loss_specs(losses), None, False)
        return training.named_metrics(self, value, accuracy, "")

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        loss: Any = None,
        optimizer: str | Optimizer = "adam",
        penalty: Any = None,
        epochs: int = 10,
        batch_size: int | None = 32,
        shuffle: bool | Callable[[int], Any] = True,
        validation: Any = None,
        early_stopping: Any = None,
        sample_weight: Any = None,
        loss_weights: Any = None,
        augment: Any = None,
        callbacks: Sequence[Any] = (),
        progress: bool = False,
    ) -> History:
        """Train: minimise (sum s_i L_i / sum s_i) + sum_j lam_j J_j(W) by steps on batches.

        Parameters
        ----------
        X : array (n, ...), tuple or dict of arrays, or Batches
            Any bool, integer or float dtype and any strides; rows are converted while they are gathered, nothing is copied whole.
            An input of one axis may also be a sparse matrix (n, width): SciPy's CSR as it is, in any order of columns, what is stored twice adds
            (in the network's dtype); another of its formats is made CSR first. Where at most 1 number in 32 is stored a first dense layer
            multiplies the stored numbers alone; else rows are made dense a batch at a time, never as a whole.
            What lies on the network's own CUDA device (DLPack, ``__cuda_array_interface__``) is used there, without a copy: contiguous, in the
            network's dtype. y and sample_weight may lie there too: they are copied to the host once, to be looked at.
        y : array, tuple or dict
            Integer labels (n,) or probabilities (n, m) for the cross-entropy; targets (n, m) or (n,) otherwise. ``Quantile`` has (n, m) for
            an output of m columns a level.
        loss : str, loss, callable (y, a) -> (value, da), or a tuple or dict of them
            By default it follows from the output's activation: softmax, sigmoid, exp and identity have cross_entropy,
            binary_cross_entropy, poisson and squared_error. A callable sees the whole batch; its da is the derivative of its value.
        optimizer : str or optimizer
            Training continues where the last fit ended if that had the same type of optimizer (``net.reset_training()`` starts anew).
        penalty : L2, L1, ElasticNet or a list of them
        epochs : int
        batch_size : int or None
            None is full-batch gradient descent.
        shuffle : bool or callable
            Batches at random without replacement, or in order; or a function that is called with the number of rows before each epoch and returns
            their order, such as the ``permutation`` of a NumPy generator.
        validation : (X, y), (X, y, sample_weight), or a fraction
            A fraction holds that share of the rows back; which rows depends on (seed, n) alone.
        early_stopping : EarlyStopping, optional
        sample_weight : array (n,), optional
            s_i >= 0.
        loss_weights : tuple or dict, optional
            For several outputs: the objective is sum of loss_weights[j] times loss j.
        augment : Augment or dict of them by input, optional
            Flips, turns and shifts the images of each batch at random: ``cr.Augment(shift=2, rotate=10)``. Validation data stays as it is.
        callbacks : sequence of Callback
        progress : bool

        Returns
        -------
        History

        Raises
        ------
        DivergenceError
            The loss, a delta or W left the finite numbers; the last finite weights stay.
        KeyboardInterrupt
            After Ctrl-C; the network is that of the last committed step.
        """
        return training.fit(
            self,
            X,
            y,
            loss=loss,
            optimizer=optimizer,
            penalty=penalty,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            validation=validation,
            early_stopping=early_stopping,
            sample_weight=sample_weight,
            loss_weights=loss_weights,
            augment=augment,
            callbacks=callbacks,
            progress=progress,
        )

    def adapt(self, X: Any) -> None:
        """Let every Standardize layer that has learned nothing yet learn its mean and scale from X, as ``fit`` does before its first epoch."""
        arrays = intake.inputs(self, X)
        later = intake.check_finite(self, arrays, [])
        self._core.adapt(arrays, [], None, later)

    def stop(self) -> None:
        """Ask a running fit to end, from another thread or a signal handler: the network keeps its last committed step."""
        self._core.stop()

    def reset_training(self) -> None:
        """Forget velocities, moments, step and epoch: the next fit starts anew from the weights as they are."""
        self._core.reset_training()

    # ---- the textbook, callable -------------------------------------------------------------------------------------------------------

    def transitions(self, x: Any) -> Iterator[Transition]:
        """Yield every (k, z, a) of a chain in order, without dropout. The first has z None and a = what enters the first product (x)."""
        self._chain("transitions")
        steps, outputs = self._core.transitions(intake.inputs(self, x))
        entering = [a for _, a, _ in steps] + [outputs[0]]
        yield Transition(0, None, entering[0] if steps else outputs[0])
        for k, (_, _, z) in enumerate(steps):
            yield Transition(k + 1, z, entering[k + 1])

    def gradient(
        self,
        x: Any,
        y: Any,
        *,
        loss: Any = None,
        penalty: Any = None,
        sample_weight: Any = None,
        loss_weights: Any = None,
        per_sample: bool = False,
        training: bool = False,
    ) -> Gradient:
        """Return the loss and its derivatives: g.loss, g.W[k], g.b[k], g.delta[k] = dL/dz[k], g.parameters[name], g.flat.

        Of the loss alone unless ``penalty`` is given. ``per_sample=True``: g.W[k] is (n, n_{k+1}, n_k), row i the gradient of sample i's own
        L_i. ``training=True``: with the dropout masks of the next step.
        """
        arrays = intake.inputs(self, x)
        losses = intake.resolve_losses(self, loss, loss_weights)
        targets = intake.targets(self, y, losses, sample_weight, len(arrays[0]))
        if per_sample and any(not isinstance(one, Loss) for one, _ in losses):
            raise ValueError("[gradient] a callable loss sees the whole batch: it has no gradient per sample")
        if per_sample and (penalty is not None or sample_weight is not None):
            raise ValueError("[gradient] per_sample=True gives the gradients of L_i alone: expected no penalty and no sample_weight")
        result = self._core.gradient(arrays, targets, intake.loss_specs(losses), intake.penalty_specs(self, penalty), training, True, per_sample)
        return Gradient(self, result, len(arrays[0]), per_sample)

    def loss_and_gradient(
        self, x: Any, y: Any, theta: Any = None, *, loss: Any = None, penalty: Any = None, sample_weight: Any = None, loss_weights: Any = None
    ) -> tuple[float, Array]:
        """Return (objective, its gradient as one vector) at the flat parameters ``theta``, as SciPy's optimisers want them.

        ``theta`` is written into the network first; None stands for the parameters as they are. Frozen parameters have gradient 0.

        >>> import numpy as np, chainrule as cr
        >>> net = cr.Network([cr.Input(2), cr.Dense(1)], dtype="float64")
        >>> value, g = net.loss_and_gradient(np.eye(2), [1.0, 2.0], np.zeros(3))
        >>> value, g.tolist()
        (1.25, [-0.5, -1.0, -1.5])
        """
        return self.objective(x, y, loss=loss, penalty=penalty, sample_weight=sample_weight, loss_weights=loss_weights)(theta)

    def objective(
        self, x: Any, y: Any, *, loss: Any = None, penalty: Any = None, sample_weight: Any = None, loss_weights: Any = None
    ) -> Callable[[Any], tuple[float, Array]]:
        """Return theta -> (objective, gradient), the function that :meth:`loss_and_gradient` calls once: x and y are validated here, once.

        ``scipy.optimize.minimize(net.objective(x, y), net.flat_parameters, jac=True)`` fits the network, whose parameters are then those of the
        last call: write the result's ``x`` into ``net.flat_parameters``.
        """
        arrays = intake.inputs(self, x)
        losses = intake.resolve_losses(self, loss, loss_weights)
        targets = intake.targets(self, y, losses, sample_weight, len(arrays[0]))
        fixed = (arrays, targets, intake.loss_specs(losses), intake.penalty_specs(self, penalty), False, False, False)
        flat = self.flat_parameters

        def value_and_gradient(theta: Any = None) -> tuple[float, Array]:
            if theta is not None:
                theta = np.asarray(theta)
                if theta.shape != flat.shape:
                    raise ValueError(f"[loss_and_gradient] theta has shape {theta.shape}: expected {flat.shape}")
                if theta.dtype.kind not in "biuf" or not np.isfinite(theta).all():
                    raise ValueError(f"[loss_and_gradient] theta ({theta.dtype}) holds something else than finite numbers: nothing was changed")
                self._write(lambda: flat.__setitem__(..., theta))
            result = self._core.gradient(*fixed)
            return float(result["loss"]), result["gradient"]

        return value_and_gradient

    def check_gradient(self, x: Any, y: Any, *, loss: Any = None, loss_weights: Any = None, entries: int = 1000) -> GradientCheck:
        """Return the largest relative error of the gradient against central differences, in float64 (see :class:`GradientCheck`)."""
        return check_gradient(self, x, y, loss, loss_weights, entries)

    def activation_ranges(self, X: Any) -> ActivationRanges:
        """Return which part of each activation's range the units use on the rows of X, without dropout: who is dead, who saturated.

        An :class:`~chainrule.ranges.ActivationRange` for every use of an activation a = g(z), in order; ``print`` shows a table, ``.plot()`` a
        picture. A unit of a rectifier (relu, elu, gelu, ...) is dead if z <= 0 on every row; one of a g with two ends (sigmoid, tanh) is
        saturated if on at least 95 % of the rows g's slope is at most 4 % of its steepest. Rows go through in chunks: the memory it takes, a
        copy of the parameters and 64 MB, does not grow with n. ValueError where X has no rows or holds what is not finite.

        >>> import numpy as np, chainrule as cr
        >>> net = cr.Network([cr.Input(2), cr.Dense(2, "relu")])
        >>> net.W[0][...], net.b[0][...] = np.eye(2), [0, -5]
        >>> net.activation_ranges([[1, 2], [3, 4]])[0].dead.tolist()
        [False, True]
        """
        from chainrule.ranges import activation_ranges

        return activation_ranges(self, X)

    # ---- a loop of one's own ----------------------------------------------------------------------------------------------------------

    def forward(self, x: Any, *, training: bool = False) -> Any:
        """Return a[K-1] and remember what :meth:`backward` needs; ``training=True`` draws the dropout masks of the next step."""
        outputs = self._core.forward(intake.inputs(self, x), training)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def backward(self, da: Any = None, *, dz: Any = None, parameters: bool = True) -> Any:
        """Go back from da = dL/da[K-1] (or from dz = dL/dz[K-1]): adds to the gradients, returns dL/dx.

        ``parameters=False`` leaves the gradients alone. Each backward needs a forward of its own, else RuntimeError.
        """
        if (da is None) == (dz is None):
            raise ValueError("[backward] expected either da or dz")
        given = intake.by_name(da if dz is None else dz, self.output_names, "backward")
        dx = self._core.backward([intake.numeric(intake.on_host(self, d, "backward"), "backward") for d in given], dz is not None, parameters)
        return dx[0] if len(dx) == 1 else tuple(dx)

    def clear_gradients(self) -> None:
        """Set the gradients to 0."""
        self._core.clear_gradients()

    def _step(self, optimizer: Optimizer, penalty: Any = None) -> None:
        self._core.apply_gradients(optimizer.spec(), intake.penalty_specs(self, penalty))

    # ---- keeping it -------------------------------------------------------------------------------------------------------------------

    def save(self, path: Any, *, training_state: bool = False) -> None:
        """Write the network to a safetensors file: whole, or not at all. ``training_state=True`` keeps what the next fit continues from."""
        training.save(self, path, training_state)


def load(path: Any, *, device: str = "cpu") -> Network:
    """Read a network that ``net.save`` has written, on any device. A truncated, altered or foreign file raises one ValueError."""
    return training.load(path, Network.__new__(Network)).to(device)


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]
