"""A fitted estimator as bytes and back, by skops: no pickle, no types but those that its head is made of.

Much of scikit-learn runs in compiled code that follows the indices of a model unchecked.  So what was read is looked
through before it is used: trees, support vectors and neighbours that no fit can have made are refused.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fdetect.errors import DataError

__all__ = ["TRUSTED", "estimator_bytes", "read_estimator"]

# What our heads consist of beside the types that skops trusts by itself; see `_check_boosted` and `_check_tree`.
TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)

_MADE_BY_FITS = {  # estimators inside a fitted one that are not there before
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.preprocessing._label.LabelBinarizer",
}

_SCHEMA = "schema.json"  # of a skops file: all but the arrays

_LEADS_NOWHERE = "a branch of a tree leads nowhere"
_OTHER_COLUMNS = "its trees were fitted on other columns"


def estimator_bytes(name: str, estimator: Any, template: Any) -> bytes:
    """Return a fitted estimator as a skops file; `template` is what the head `name` makes, before a fit.

    Equal estimators make equal bytes.  Raises DataError for one with a type that would not be read back.
    """
    import skops.io

    data = _numbered(skops.io.dumps(estimator))
    _refuse_unknown(name, data, template)
    return data


def read_estimator(name: str, data: bytes, template: Any, width: int) -> Any:
    """Return the estimator of a head, fitted on `width` columns, from the bytes of a skops file.

    Raises DataError for a type that the head is not made of, ValueError for numbers that no fit can have made.
    """
    import skops.io

    trusted = _refuse_unknown(name, data, template)
    estimator = skops.io.loads(data, trusted=trusted)
    made_of, expected = _steps(estimator), _steps(template)
    inside, known = ({_name(one) for one in _estimators(whole)} for whole in (estimator, template))
    strange = [one for one in made_of if one not in expected] + sorted(inside - known - _MADE_BY_FITS)
    if strange or made_of != expected:
        raise DataError(f"holds the type {(strange or made_of)[0]}, of which no head {name} is made; not loaded")
    for part in _estimators(estimator):
        if shadowed := sorted(set(vars(part)) & set(dir(type(part)))):  # no fit replaces what the class decides
            raise ValueError(f"it holds its own {shadowed[0]}, which is its type's")
        for check in (_check_boosted, _check_tree, _check_forest, _check_support_vectors, _check_neighbours):
            check(part)
    if getattr(estimator, "n_features_in_", width) != width:
        raise ValueError("it was fitted on other columns")
    return estimator


def _numbered(data: bytes) -> bytes:
    """Write a skops file again with its objects numbered as they come, not by where they lay in memory, and undated."""
    numbers: dict[int, int] = {}

    def number(address: int) -> int:
        return numbers.setdefault(address, len(numbers))

    def moved(node: Any) -> Any:
        if isinstance(node, list):
            return [moved(one) for one in node]
        if not isinstance(node, dict):
            return node
        found = {key: moved(one) for key, one in node.items()}
        if isinstance(address := node.get("__id__"), int):
            found["__id__"] = number(address)
        if isinstance(file := node.get("file"), str):
            address, dot, ending = file.partition(".")
            found["file"] = f"{number(int(address))}{dot}{ending}"
        return found

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        schema = moved(json.loads(old.read(_SCHEMA)))
        for name in old.namelist():
            address, dot, ending = name.partition(".")
            content = json.dumps(schema).encode() if name == _SCHEMA else old.read(name)
            place = name if name == _SCHEMA else f"{numbers[int(address)]}{dot}{ending}"
            new.writestr(zipfile.ZipInfo(place), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _refuse_unknown(name: str, data: bytes, template: Any) -> list[str]:
    """Return the types to trust, of TRUSTED and those that the head itself makes; raise DataError for any other."""
    import skops.io

    trusted = {*TRUSTED, *(_name(one) for one in _objects(template) if not _name(one).startswith("builtins."))}
    unknown = skops.io.get_untrusted_types(data=data)
    if strange := [one for one in unknown if one not in trusted]:
        raise DataError(f"holds the type {strange[0]}, which no head {name} of fdetect needs; not loaded")
    return list(unknown)


def _steps(estimator: Any) -> list[str]:
    """Name the type of an estimator and, if it is a pipeline, of its steps."""
    return [_name(part) for part in (estimator, *(step for _, step in getattr(estimator, "steps", ())))]


def _estimators(whole: Any) -> Iterator[Any]:
    """Yield every estimator inside of one, itself the first."""
    from sklearn.base import BaseEstimator

    return (one for one in _objects(whole) if isinstance(one, BaseEstimator))


def _objects(whole: Any) -> Iterator[Any]:
    """Yield an object and everything it holds in attributes, lists, tuples, dictionaries and arrays of objects."""
    waiting, seen = [whole], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | type(None)):
            continue
        seen.add(id(one))
        if isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, np.ndarray):
            waiting += one.ravel().tolist() if one.dtype.hasobject else []
        elif not isinstance(one, type | np.generic):
            yield one
            waiting += vars(one).values() if hasattr(one, "__dict__") else ()


def _name(one: Any) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"


def _check_boosted(estimator: Any) -> None:
    """Raise ValueError for boosted trees that a fit on numeric columns cannot have made."""
    trees = [tree for of_class in getattr(estimator, "_predictors", ()) for tree in of_class]
    if not trees:
        return
    mapper, width = estimator._bin_mapper, estimator.n_features_in_
    if estimator._preprocessor is not None or np.any(mapper.is_categorical_) or len(mapper.is_categorical_) != width:
        raise ValueError(_OTHER_COLUMNS)
    for tree in trees:
        inner = tree.nodes["is_leaf"] == 0
        if np.any(tree.nodes["is_categorical"][inner] != 0):
            raise ValueError(_LEADS_NOWHERE)
        _check_branches(tree.nodes["left"], tree.nodes["right"], tree.nodes["feature_idx"], inner, width)


def _check_tree(estimator: Any) -> None:
    """Raise ValueError for a decision tree that a fit cannot have made."""
    tree = getattr(estimator, "tree_", None)
    if tree is None:
        return
    if tree.n_features != estimator.n_features_in_ or tree.n_outputs != 1:
        raise ValueError(_OTHER_COLUMNS)
    inner = tree.children_left != -1
    if np.any((tree.children_right != -1) != inner):
        raise ValueError(_LEADS_NOWHERE)
    _check_branches(tree.children_left, tree.children_right, tree.feature, inner, tree.n_features)


def _check_forest(estimator: Any) -> None:
    """Raise ValueError for a forest whose trees were fitted on other columns, or are no trees."""
    for tree in getattr(estimator, "estimators_", ()):
        if hasattr(estimator, "estimator_") and tree.tree_.n_features != estimator.n_features_in_:
            raise ValueError(_OTHER_COLUMNS)


def _check_branches(left: np.ndarray, right: np.ndarray, column: np.ndarray, inner: np.ndarray, width: int) -> None:
    """Branches of inner nodes lead forward to nodes that exist, and split columns that exist."""
    at = np.flatnonzero(inner)
    sides = [side[at].astype(np.int64) for side in (left, right)]
    forward = [(side > at) & (side < len(inner)) for side in sides]
    known = (column[at] >= 0) & (column[at] < width)
    if not len(inner) or not np.all([*forward, known]):
        raise ValueError(_LEADS_NOWHERE)


def _check_support_vectors(estimator: Any) -> None:
    """Raise ValueError for a support vector machine of libsvm whose arrays do not belong together.

    libsvm takes the number of classes from the length of `_n_support`, and where vectors begin from its values.
    """
    if not hasattr(estimator, "support_vectors_"):
        return
    vectors, n = estimator.support_vectors_, len(estimator.support_)
    counts, of_classes = estimator._n_support, hasattr(estimator, "classes_")  # a machine of one class has none
    arrays = [vectors, estimator._dual_coef_, estimator.dual_coef_, estimator._intercept_]
    whole = (
        vectors.shape == (n, estimator.n_features_in_)
        and all(array.dtype == np.int32 and array.ndim == 1 for array in (estimator.support_, counts))
        and counts.shape == (2,) and (counts >= 0).all() and (counts <= n).all()
        and (len(estimator.classes_) == 2 and counts.sum() == n if of_classes else counts[0] == n)
        and estimator._dual_coef_.shape == estimator.dual_coef_.shape == (1, n) and estimator._intercept_.shape == (1,)
        and all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays)
        and not estimator._sparse and estimator.kernel == "rbf"
    )  # fmt: skip
    if not whole:
        raise ValueError("its support vectors do not belong together")


def _check_neighbours(estimator: Any) -> None:
    """Raise ValueError for neighbours whose labels are not those of their rows."""
    if not hasattr(estimator, "_fit_X"):
        return
    rows, labels = estimator._fit_X, getattr(estimator, "_y", None)
    whole = (
        isinstance(rows, np.ndarray) and rows.dtype == np.float64 and np.isfinite(rows).all() and rows.ndim == 2
        and rows.shape[1] == estimator.n_features_in_ and 1 <= estimator.n_neighbors <= len(rows)
        and estimator._fit_method == "brute" and isinstance(estimator.metric, str)
        and estimator.n_samples_fit_ == len(rows)
    )  # fmt: skip
    if whole and labels is not None:
        whole = labels.shape == (len(rows),) and labels.min() >= 0 and labels.max() < len(estimator.classes_)
    if not whole:
        raise ValueError("its neighbours do not belong together")
