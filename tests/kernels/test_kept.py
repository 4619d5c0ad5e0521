"""Geometries are kept for equal arguments: never for arguments that are only alike, and never an error."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from backstride.kernels import kept
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.linear.geometry import LinearGeometry
from backstride.kernels.pool.geometry import AvgPoolGeometry, PoolGeometry

X, W = (2, 4, 9, 8), (6, 4, 3, 2)
OPTIONS = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}


def geometry(x=X, w=W, **options):
    return ConvGeometry.of("conv2d", x, w, **{**OPTIONS, **options})


def test_equal_arguments_give_the_same_object():
    assert geometry() is geometry((*X[:2], *X[2:]))
    assert geometry([*X]) is geometry([*X])
    assert geometry(stride=np.int64(2)) is geometry(stride=np.int64(2))


@pytest.mark.parametrize("alike", [list(X), tuple(map(np.int64, X)), tuple(map(np.int32, X))])
def test_other_types_are_equal_geometries(alike):
    assert geometry(alike) == geometry()
    assert hash(geometry(alike)) == hash(geometry())


@pytest.mark.parametrize(
    "options",
    [
        {"stride": True},
        {"stride": 1.0},
        {"stride": np.float64(1)},
        {"stride": np.bool_(True)},
        {"stride": (1, True)},
        {"stride": [1, 1.0]},
        {"padding": ((1, 1), (1, 1.0))},
        {"padding": ((1, 1), [True, 1])},
        {"groups": 1.0},
        {"x": (2, 4, 9, 8.0)},
        {"w": (6, 4, 3, 2.0)},
        {"stride": np.array([1, 1])},
        {"stride": lambda: 1},  # has no pickle
        {"dilation": "1"},
    ],
)
def test_no_wrong_type_passes_for_its_equal(options):
    for right in ({}, {"stride": (1, 1)}, {"stride": [1, 1]}, {"padding": ((1, 1), (1, 1))}):
        geometry(**right)
    for _ in range(2):  # nor is its error kept
        with pytest.raises(ValueError, match="expected an int"):
            geometry(**options)


def test_a_flag_is_kept_beside_its_number():
    assert PoolGeometry.of("p", X, 2, ceil_mode=True).y_shape == PoolGeometry.of("p", X, 2, ceil_mode=1).y_shape
    assert PoolGeometry.of("p", X, 2, ceil_mode=True) != PoolGeometry.of("p", X, 2, ceil_mode=False)
    with pytest.raises(ValueError, match="batch_axis"):
        LinearGeometry.of("linear", True, w_shape=(3, 2), x_shape=(2, 4))
    assert LinearGeometry.of("linear", 1, w_shape=(3, 2), x_shape=(2, 4)).N == 4


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(kept, "_MOST_KEPT", 8)

    class Number:
        made = 0

        @classmethod
        @kept.kept
        def of(cls, value):
            cls.made += 1
            if value < 0:
                raise ValueError(value)
            return object()

    for value in range(100):
        Number.of(value)
    assert Number.made == 100
    Number.of(99)
    assert Number.made == 100
    Number.of(0)
    assert Number.made == 101
    for _ in range(2):
        with pytest.raises(ValueError, match="-1"):
            Number.of(-1)
    assert Number.made == 103


def test_a_hash_is_worked_out_once():
    class Field:
        hashed = 0

        def __hash__(self):
            Field.hashed += 1
            return 7

    @kept.hashed_once
    @dataclass(frozen=True)
    class Record:
        field: Field

    record = Record(Field())
    assert hash(record) == hash(record)
    assert Field.hashed == 1
    assert hash(replace(record, field=3)) == hash(Record(3)) != hash(record)


def test_kinds_of_geometry_differ():
    plain, average = PoolGeometry.of("p", X, 2), AvgPoolGeometry.of_average("p", X, 2)
    assert plain != average
    assert average != AvgPoolGeometry.of_average("p", X, 2, count_include_pad=False)
    assert hash(average) == hash(replace(average))
