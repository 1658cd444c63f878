"""Weights by name, made wrong on purpose."""


def without(weights, *names):
    return {name: value for name, value in weights.items() if name not in names}


def changed(weights, name, function):
    return weights | {name: function(weights[name])}


def with_first(value):
    def change(array):
        array = array.copy()
        array.flat[0] = value
        return array

    return change
