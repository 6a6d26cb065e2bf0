"""The registered heads, one scikit-learn estimator each; `stacking` has a file of its own.

    log-odds   logreg elastic lda hist_gb random_forest knn
    margin     svm_linear svm_rbf
    distance   one_class one_class_svm, of reals alone
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdetect.classifiers.heads import DISTANCE, MARGIN, Rows, fit_plainly, head

__all__ = [
    "elastic", "hist_gb", "knn", "lda", "logreg", "one_class", "one_class_svm", "random_forest", "svm_linear",
    "svm_rbf",
]  # fmt: skip


@head
def logreg(*, c: float = 0.1, max_iter: int = 2000) -> Any:
    """Logistic regression with an L2 penalty on standardised columns: (N, D) float32 -> (N,) log-odds.

        log-odds = w . (x - mean) / std + b,   minimise |w|^2 / (2 C) + sum of log-losses

    Source: scikit-learn `LogisticRegression` (lbfgs) behind `StandardScaler`.
    """
    from sklearn.linear_model import LogisticRegression

    return _standardised(LogisticRegression(C=c, max_iter=max_iter))


@head
def hist_gb(
    *,
    learning_rate: float = 0.1,
    max_iter: int = 100,
    max_leaf_nodes: int = 15,
    min_samples_leaf: int = 10,
    max_bins: int = 64,
) -> Any:
    """Histogram gradient boosting of shallow trees: (N, D) float32 -> (N,) log-odds.

        log-odds = b + sum over trees of learning_rate * leaf(x)

    Source: scikit-learn `HistGradientBoostingClassifier` (Ke et al. 2017, LightGBM).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=learning_rate,
        max_iter=max_iter,
        max_leaf_nodes=max_leaf_nodes,
        min_samples_leaf=min_samples_leaf,
        max_bins=max_bins,
        early_stopping=False,
        random_state=0,
    )


@head
def lda(*, shrinkage: str = "auto") -> Any:
    """Linear discriminant of two Gaussians with one shrunk covariance: (N, D) float32 -> (N,) log-odds.

        log-odds = (m1 - m0)' S^-1 (x - (m0 + m1) / 2) + log n_fake / n_real,   S = (1 - a) C + a tr(C) / D I

    on standardised columns; C is the covariance within classes and a its optimal shrinkage, or the number given.
    Source: scikit-learn `LinearDiscriminantAnalysis` (lsqr) behind `StandardScaler`; Ledoit and Wolf 2004, "A
    well-conditioned estimator for large-dimensional covariance matrices", equation 14, for "auto".
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    amount = shrinkage if shrinkage == "auto" else float(shrinkage)
    return _standardised(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=amount))


@head
def elastic(*, c: float = 0.1, l1_ratio: float = 0.5, max_iter: int = 2000, tol: float = 1e-3) -> Any:
    """Logistic regression with an elastic-net penalty on standardised columns: (N, D) float32 -> (N,) log-odds.

        log-odds = w . (x - mean) / std + b
        minimise (r |w|_1 + (1 - r) |w|^2 / 2) / C + sum of log-losses,   r = l1_ratio

    Columns that help little get w = 0 exactly.
    Source: Zou and Hastie 2005, 10.1111/j.1467-9868.2005.00503.x; scikit-learn `LogisticRegression` by SAGA (Defazio,
    Bach and Lacoste-Julien 2014), which draws its rows from seed 0.
    """
    from sklearn.linear_model import LogisticRegression

    return _standardised(
        LogisticRegression(C=c, l1_ratio=l1_ratio, solver="saga", max_iter=max_iter, tol=tol, random_state=0)
    )


@head(scale=MARGIN)
def svm_linear(*, c: float = 0.01, max_iter: int = 10_000) -> Any:
    """Linear support vector machine on standardised columns: (N, D) float32 -> (N,) margins.

        margin = w . (x - mean) / std + b,   minimise (|w|^2 + b^2) / 2 + C sum of v max(0, 1 - y margin)^2,   y = +-1

    with weights v by which both classes count the same.
    Source: Cortes and Vapnik 1995, 10.1007/BF00994018; scikit-learn `LinearSVC` (liblinear, primal), squared hinge.
    """
    from sklearn.svm import LinearSVC

    return _standardised(LinearSVC(C=c, dual=False, max_iter=max_iter, random_state=0))


@head(scale=MARGIN)
def svm_rbf(*, c: float = 1.0, gamma: str = "scale") -> Any:
    """Support vector machine with a Gaussian kernel on standardised columns: (N, D) float32 -> (N,) margins.

        margin = sum over support vectors of a_i y_i exp(-gamma |x - x_i|^2) + b,   0 <= a_i <= C v_i

    with weights v by which both classes count the same; "scale" is gamma = 1 / (D variance of all columns together).
    Source: Boser, Guyon and Vapnik 1992, 10.1145/130385.130401; scikit-learn `SVC` (libsvm).
    """
    from sklearn.svm import SVC

    return _standardised(SVC(C=c, kernel="rbf", gamma=gamma if gamma in ("scale", "auto") else float(gamma)))


def _votes(pipeline: Any, values: np.ndarray) -> np.ndarray:
    """Smoothed log-odds of n votes: (N, D) float64 -> (N,) of two classes, else (N, K) logarithms of votes."""
    last = pipeline[-1] if hasattr(pipeline, "steps") else pipeline
    n = last.n_neighbors if hasattr(last, "n_neighbors") else last.n_estimators
    votes = n * pipeline.predict_proba(values) + 0.5
    log = np.log(votes)
    return np.asarray(log[:, 1] - log[:, 0] if log.shape[1] == 2 else log)


@head(raw=_votes)
def random_forest(*, n_estimators: int = 200, min_samples_leaf: int = 5, max_features: str = "sqrt") -> Any:
    """Random forest: (N, D) float32 -> (N,) log-odds of the trees' votes.

        log-odds = log (T p + 1/2) / (T (1 - p) + 1/2),   p = mean over the T trees of the fakes' share in leaf(x)

    The halves keep a row finite on which all trees agree.  Trees and columns are drawn from seed 0.
    Source: Breiman 2001, 10.1023/A:1010933404324; scikit-learn `RandomForestClassifier`; the halves are those of
    Haldane 1956, 10.1111/j.1469-1809.1956.tb01285.x.
    """
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=n_estimators,
        min_samples_leaf=min_samples_leaf,
        max_features=max_features if max_features in ("sqrt", "log2") else float(max_features),
        n_jobs=1,
        random_state=0,
    )


def _few_neighbours(pipeline: Any, rows: Rows, *, name: str) -> Any:
    """Fit on rows fewer than the neighbours asked for: then all of them are neighbours."""
    asked = pipeline[-1].n_neighbors
    pipeline[-1].set_params(n_neighbors=min(asked, len(rows.label)))
    return fit_plainly(pipeline, rows, name=name)


@head(raw=_votes, fit=_few_neighbours)
def knn(*, n_neighbors: int = 15) -> Any:
    """Nearest neighbours on standardised columns: (N, D) float32 -> (N,) log-odds of their numbers.

        log-odds = log (k_fake + 1/2) / (k_real + 1/2),   k_fake + k_real = k neighbours of x by sum of |x - x_i|

    The distance is computed pair by pair, so that a row's neighbours do not depend on the rows beside it; in many
    columns sums of absolute differences tell near from far better than squares.
    Source: Cover and Hart 1967, 10.1109/TIT.1967.1053964; Aggarwal, Hinneburg and Keim 2001, 10.1007/3-540-44503-X_27,
    for the distance; Haldane 1956, 10.1111/j.1469-1809.1956.tb01285.x, for the halves.
    """
    from sklearn.neighbors import KNeighborsClassifier

    return _standardised(KNeighborsClassifier(n_neighbors=n_neighbors, algorithm="brute", metric="manhattan", n_jobs=1))


def _mahalanobis(pipeline: Any, values: np.ndarray) -> np.ndarray:
    return np.asarray(pipeline[-1].mahalanobis(pipeline[:-1].transform(values)) / values.shape[1])


@head(scale=DISTANCE, raw=_mahalanobis)
def one_class() -> Any:
    """Distance from the reals, which alone are fitted: (N, D) float32 -> (N,) squared Mahalanobis distances / D.

        distance = (x - m)' S^-1 (x - m) / D,   S = (1 - a) C + a tr(C) / D I

    on columns standardised by the reals; m and C are their mean and covariance, a its optimal shrinkage.  About 1 for
    an image like those that were fitted, where little was shrunk.
    Source: Mahalanobis 1936; Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
    matrices", equation 14; scikit-learn `LedoitWolf` behind `StandardScaler`.
    """
    from sklearn.covariance import LedoitWolf

    return _standardised(LedoitWolf())


def _outside(pipeline: Any, values: np.ndarray) -> np.ndarray:
    return -np.asarray(pipeline.decision_function(values))


@head(scale=DISTANCE, raw=_outside)
def one_class_svm(*, nu: float = 0.1) -> Any:
    """Distance outside a region that holds the reals, which alone are fitted: (N, D) float32 -> (N,) distances.

        distance = r - sum over support vectors of a_i exp(-gamma |x - x_i|^2),   0 <= a_i <= 1,   sum of a_i = nu n

    on standardised columns, gamma = 1 / (D variance of all columns together); positive outside of the region, as for
    at most a share nu of the reals that were fitted.
    Source: Schoelkopf, Platt, Shawe-Taylor, Smola and Williamson 2001, 10.1162/089976601750264965; scikit-learn
    `OneClassSVM` (libsvm).
    """
    from sklearn.svm import OneClassSVM

    return _standardised(OneClassSVM(kernel="rbf", gamma="scale", nu=nu))


def _standardised(estimator: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), estimator)
