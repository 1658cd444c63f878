"""A trained network as ONNX or TensorFlow SavedModel, for programs that are not Python or know nothing of this package.

    python -m shared.export RUN -o model.onnx            # pip install -e '.[export]'
    python -m shared.export RUN -o saved_model

A method with several networks gives several: `model_coarse.onnx`, `model_net2.onnx`. Beside each lies a JSON file that says what
the network takes and gives, and how a scan is prepared for it. The networks are in float32, whatever a run computes in. Each is
run by onnxruntime or TensorFlow, beside Keras, before its file appears.

Exporting is for reach, not for speed: on the processors that were tried, onnxruntime is slower than the prediction commands.
"""

import contextlib
import importlib
import inspect
import io
import os
import shutil
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from shared import cli, ensembles, recipes, runs
from shared.errors import InputError
from shared.files import write_json
from shared.lazy import lazily, library

with lazily():
    from shared.framework import keras
    from shared.learning import arithmetic, layers

ONNX = ".onnx"
AGREES = 1e-4  # largest difference to Keras, as a share of the largest logit
ANY_EXTENT = 48  # voxels that the comparison takes along an axis where the network takes any number


def export(weights: Path, output: Path) -> list[Path]:
    """Write every network of a run, and return the files or folders.

    Args:
        weights: run folder, or its best.weights.h5.
        output: a name that ends in .onnx, or that of a folder; neither it nor the JSON file beside it may exist.

    Raises:
        InputError: not a run, a backend or library that cannot export, a name that is taken, or a network that gives something
            else once it is exported.
    """
    folder = runs.folder_holding(weights)
    package = ensembles.package_of(folder)
    if not package:
        raise InputError(f"{folder}: not a run of a paper of this package")
    check(output)
    predict = importlib.import_module(f"{package}.predict")
    with arithmetic.always_float32():
        segmenter = predict.load(folder)
    networks = networks_of(segmenter)
    paths = {name: output.with_name(f"{output.stem}_{name}{output.suffix}") if len(networks) > 1 else output for name in networks}
    for path in paths.values():
        for taken in filter(os.path.lexists, (path, beside(path))):
            raise InputError(f"{taken}: is there already; choose another --output")
    for name, network in networks.items():
        path = paths[name]
        difference = write_onnx(network, path) if output.suffix == ONNX else write_saved_model(network, path)
        about = description(name, list(networks), network, segmenter, predict, runs.read_record(folder))
        write_json(beside(path), {**about, "largest_difference_to_keras": difference})
        print(f"wrote {path} and {beside(path)}: within {difference:.1e} of Keras, as a share of the largest logit")
    return list(paths.values())


def beside(path: Path) -> Path:
    """The JSON file about an exported network."""
    return path.with_name(f"{path.name}.json")


def description(
    name: str, names: Sequence[str], network: "keras.Model", segmenter: Any, predict: types.ModuleType, record: Mapping[str, Any]
) -> dict[str, Any]:
    """What a program must know that runs the network: what goes in, how that is made from a scan, and what comes out."""
    outputs, structures = network.outputs[0].shape, list(segmenter.structures.values())
    if outputs[-1] == 1:
        gives = {
            "what": "one logit, above 0 where the class is",
            "classes": structures if len(structures) == 1 else ["any structure"],
        }
    else:
        gives = {"what": "logits of the classes, of which the greatest counts", "classes": ["background", *structures]}
    return {
        "network": name,
        "networks_of_the_method": list(names),
        "made_from": {field: record.get(field) for field in ("package", "experiment", "preset", "dataset", "commit", "versions")},
        "input": {"shape": list(network.inputs[0].shape), "axes": axes_of(network), "type": "float32"},
        "output": {"shape": list(outputs), **gives},
        "values_on_disk": {structure: value for value, structure in segmenter.structures.items()},
        "preparation": inspect.cleandoc(predict.prepare.__doc__ or "").partition("\n\nRaises:")[0],
        "prediction": f"{predict.__name__}.predict says what is done between the preparation, the networks and the label map",
        "recipe": recipes.flat(segmenter.recipe),
    }


def check(output: Path) -> None:
    """Raise InputError unless something can be exported to a name like `output`, here."""
    if keras.backend.backend() != "tensorflow":
        raise InputError("only the TensorFlow backend can export: unset KERAS_BACKEND")
    if output.suffix == ONNX:
        for name in ("tf2onnx", "onnxruntime"):
            library(name, "export")
    elif output.suffix:
        raise InputError(f"{output}: expected a name that ends in {ONNX}, or the name of a folder for a SavedModel")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output.parent}: no such folder; make it first")


def networks_of(segmenter: Any) -> dict[str, "keras.Model"]:
    """Name -> network, of a paper's segmenter."""
    found = {field.name: getattr(segmenter, field.name) for field in fields(segmenter)}
    return {name: value for name, value in found.items() if isinstance(value, keras.Model)}


def axes_of(network: "keras.Model") -> list[str]:
    """What the axes of the network's input are."""
    return ["batch", *("x", "y", "z")[: len(network.inputs[0].shape) - 2], "channel"]


def write_onnx(network: "keras.Model", path: Path) -> float:
    """Write a network as ONNX; see `compared` for what is returned and raised."""
    onnxruntime = library("onnxruntime", "export")
    with unfinished(path) as temporary:
        exported(network, temporary, "onnx")
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        image = example(network)
        difference = compared(network, image, session.run(None, {session.get_inputs()[0].name: image})[0])
        os.replace(temporary, path)
    return difference


def write_saved_model(network: "keras.Model", path: Path) -> float:
    """Write a network as SavedModel; see `compared` for what is returned and raised."""
    import tensorflow as tf

    with unfinished(path) as temporary:
        exported(network, temporary, "tf_saved_model")
        image, loaded = example(network), tf.saved_model.load(str(temporary))
        difference = compared(network, image, loaded.serve(image))
        os.replace(temporary, path)
    return difference


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A path of the same name in a hidden folder beside `path`, which goes at the end; so does one that a killed process left."""
    folder = path.absolute().with_name(f".exporting-{path.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder)


def exported(network: "keras.Model", path: Path, kind: str) -> None:
    """Let Keras write a network, in silence: it and its helpers talk of their own affairs."""
    signature = [keras.InputSpec(shape=each.shape, dtype="float32", name="image") for each in network.inputs]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), layers.plain_operations():
        warnings.simplefilter("ignore")
        network.export(str(path), format=kind, verbose=False, input_signature=signature)


def example(network: "keras.Model") -> np.ndarray:
    """An input of noise."""
    extents = [size or ANY_EXTENT for size in network.inputs[0].shape[1:]]
    return np.random.default_rng(0).uniform(-1, 1, (1, *extents)).astype(np.float32)


def compared(network: "keras.Model", image: np.ndarray, found: Any) -> float:
    """How far `found` is from what Keras gives for `image`, as a share of the largest logit.

    Raises:
        InputError: farther than `AGREES`.
    """
    wanted = np.asarray(network(image, training=False))
    difference = float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())
    if not difference <= AGREES:
        far = f"differs from Keras by {difference:.1e} of the largest logit, more than {AGREES:.0e}"
        raise InputError(f"{network.name}: the exported network {far}; it is not written")
    return difference


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m shared.export", description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, metavar="RUN", help="run folder, or its best.weights.h5")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, help=f"name that ends in {ONNX}, or a folder for a SavedModel"
    )
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        export(options.weights, options.output)


if __name__ == "__main__":
    main()
