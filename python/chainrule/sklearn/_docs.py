# SPDX-License-Identifier: MIT
"""The estimators' documentation: what they share is said once."""

from __future__ import annotations

__all__ = ["classifier", "images", "regressor"]

_INTRODUCTION = """
    {first}

    z[k+1] = a[k] @ W[k].T + b[k], a[k+1] = g(z[k+1]), fitted by minimising

        {objective}

    The parameters of ``sklearn.neural_network.{name}`` mean here what they mean there, and with the same ``random_state`` the start, the
    validation rows and the order of the batches are the same too; docs/changing-the-import-line.md lists what differs.
"""

_SHARED = """hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; () is a linear model.
    activation : str or list, default="relu"
        g of the hidden layers: "identity", "logistic", "tanh", "relu", and also "leaky_relu", "elu", "selu", "softplus", "gelu", "silu"; a list names
        one for each hidden layer.
    solver : {"adam", "sgd", "rmsprop", "adamw", "lbfgs"}, default="adam"
        "lbfgs" is SciPy's L-BFGS-B over all rows at once; the others take steps on mini-batches.
    alpha : float or sequence, default=0.0001
        L2 strength, divided by the number of rows; a sequence holds one for each layer with weights, the output's included. With "adamw" it is the
        decay beside the step, W <- W - learning_rate alpha W, of every parameter and not divided.
    batch_size : int, "auto" or "all", default="auto"
        "auto" is min(200, n); "all" makes every epoch one step on all rows.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        For "sgd". invscaling: learning_rate_init / (t + 1)^power_t after t rows; adaptive: a fifth of it each time the training stalls, down to 1e-6.
    learning_rate_init : float, default=0.001
        The step size.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs; most iterations of "lbfgs".
    shuffle : bool, default=True
        Whether each epoch draws a new order of the rows.
    random_state : int, RandomState or None, default=None
        Decides the start, the validation rows, the order of the rows and the dropout masks.
    tol : float, default=1e-4
        An epoch that improves by less counts as stalled; for "lbfgs" the largest entry of the gradient at the end.
    verbose : bool, int or "progress", default=False
        Print a line an epoch; "progress" shows a bar by tqdm, where that is installed.
    warm_start : bool, default=False
        fit goes on from the weights and from the optimizer's moments of the fit before.
    momentum : float, default=0.9
        Of "sgd"; of "rmsprop" the decay rho of the mean square.
    nesterovs_momentum : bool, default=True
        Look ahead, for "sgd" with momentum.
    early_stopping : bool, default=False
        Watch validation rows, stop where they stall, and keep the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows that early_stopping holds back where fit gets no X_val.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decays of the moments of "adam" and "adamw".
    epsilon : float, default=1e-8
        Of "adam" (added to the root of the uncorrected second moment, as in scikit-learn), "adamw" and "rmsprop".
    n_iter_no_change : int or inf, default=10
        Epochs in a row that may stall.
    max_fun : int, default=15000
        Most evaluations of the loss by "lbfgs".
    dropout : float or sequence, default=0.0
        Share of each hidden layer's units (one a layer in a sequence) that a training step leaves out.
    l1 : float or sequence, default=0.0
        L1 strength, divided by the number of rows as alpha is. Weights become exactly 0 with "sgd" (soft-thresholding after each step) and "lbfgs".
    """

_END = """monitor : {"score", "loss"}, default="score"
        What early_stopping watches.
    dtype : {"float32", "float64"} or None, default=None
        What is computed in; None: float32 for a float32 X, float64 for all others, as in scikit-learn.
    n_jobs : int or None, default=None
        Threads, counted as joblib counts them; None: as many as ``chainrule.num_threads()`` says. The results do not depend on it.
    device : str, default="cpu"
        Where the network lies.

    Attributes
    ----------
    network_ : chainrule.Network
        The fitted network: ``network_.transitions(x)``, ``network_.gradient(x, y)``, ``network_.save(path)``, ...
    coefs_, intercepts_ : list of arrays
        W^T (n_in, n_out) and b of each layer: writable views of ``network_``'s parameters, no copies.
    loss_ : float
        The objective at the last epoch.
    loss_curve_ : list of float
        The objective of each epoch. Not with "lbfgs".
    best_loss_ : float or None
        The least of them; None with early_stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score (accuracy or R^2) and loss of the validation rows after each epoch, without penalties.
    best_validation_score_ : float or None
        The score of the epoch whose weights were kept.
    n_iter_, t_ : int
        Epochs of the last fit (iterations of "lbfgs"); rows seen in all.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
    """

classifier = (
    _INTRODUCTION.format(
        first="Multi-layer perceptron classifier.",
        objective="sum_i s_i L(y_i, a_i) / sum_i s_i + (alpha / 2 sum w^2 + l1 sum |w|) / sum_i s_i,   L the cross-entropy.",
        name="MLPClassifier",
    )
    + """
    Two classes have one sigmoid, more a softmax, an indicator matrix of labels one sigmoid a label, several columns of classes one softmax each.

    Parameters
    ----------
    """
    + _SHARED
    + """class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes, which multiply sample_weight.
    """
    + _END
    + """classes_ : array, or list of arrays
        The classes; one array for each output where there are several.

    Examples
    --------
    >>> from chainrule.sklearn import MLPClassifier
    >>> clf = MLPClassifier((5,), "tanh", solver="lbfgs", random_state=0).fit([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    >>> clf.predict([[0.0, 1.0], [1.0, 1.0]])
    array([1, 0])
    """
)

images = (
    """
    Convolutional classifier of images.

    Standardize -> (Conv2D -> MaxPool) for each of ``filters`` -> Flatten -> Dense for each of ``hidden_layer_sizes`` -> output, fitted by minimising

        sum_i s_i L(y_i, a_i) / sum_i s_i + (alpha / 2 sum w^2 + l1 sum |w|) / sum_i s_i,   L the cross-entropy.

    Each channel is standardized by the training images, so pixels may come as 0 ... 255 or as 0 ... 1. Layers start as :class:`chainrule.Network`
    starts them (He for relu, biases 0). Two classes have one sigmoid, more a softmax.

    Parameters
    ----------
    filters : sequence of int, default=(16, 32)
        Outputs of each convolution; () has none of them.
    kernel_size : int or (int, int), default=3
        Of every convolution, "same" padding; no longer than the image.
    pool_size : int or (int, int), default=2
        Of the pool behind every convolution; 1 is no pool, and an axis that has not room for two windows is not pooled.
    image_shape : (h, w), (h, w, channels) or None, default=None
        Of flat rows; None: rows (n, p) are images (1, p, 1). Images (n, h, w) and (n, h, w, channels) have their own shape.
    augment : chainrule.Augment, dict or None, default=None
        Flips, turns and shifts the images of each batch: ``{"shift": 2, "rotate": 10}``. Not with "lbfgs".
    """
    + _SHARED
    + """class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes, which multiply sample_weight.
    """
    + _END.replace(
        "None: float32 for a float32 X, float64 for all others, as in scikit-learn.", "None: float64 for a float64 X, float32 for all others."
    )
    + """image_shape_ : (int, int, int)
        Height, width and channels.
    classes_ : array, or list of arrays
        The classes; one array for each output where there are several.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule.sklearn import CNNClassifier
    >>> X, y = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2
    >>> X[y == 0, 3], X[y == 1, :, 4] = 255, 255  # lines across, lines down
    >>> CNNClassifier(filters=(4,), random_state=0, max_iter=30, augment={"shift": 2}, tol=0).fit(X, y).score(X, y)
    1.0
    """
)

regressor = (
    _INTRODUCTION.format(
        first="Multi-layer perceptron regressor.",
        objective="sum_i s_i L(y_i, a_i) / sum_i s_i + (alpha / 2 sum w^2 + l1 sum |w|) / sum_i s_i.",
        name="MLPRegressor",
    )
    + """
    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber", "quantile", "poisson"}, default="squared_error"
        L, summed over the outputs: 1/2 (y - a)^2; abs(y - a); Huber's; the pinball loss, whose minimum is at the quantile; half the Poisson deviance
        a - y + y log(y / a) of a = exp(z), for y >= 0. The squared error is shown divided by the number of outputs, as scikit-learn shows it.
    """
    + _SHARED
    + """quantile : float or sequence of float, default=0.5
        Level of the loss "quantile"; a sequence has one network predict several at once.
    delta : float, default=1.0
        Of the loss "huber": errors beyond it count by their size, not by their square.
    """
    + _END
    + """
    Examples
    --------
    >>> from chainrule.sklearn import MLPRegressor
    >>> reg = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0, random_state=0, tol=1e-9).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> float(reg.predict([[3.0]]).round(3)[0])
    7.0
    """
)
