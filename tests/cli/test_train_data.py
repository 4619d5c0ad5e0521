"""`backstride train` on data of one's own, with other models, schedules, dtypes and augmentation."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from commands import refused

import backstride
import backstride.models
from backstride import cli
from backstride.cli.train import settings as settings_module
from backstride.cli.train import state as state_module
from backstride.cli.train.augment import Augmentation
from backstride.cli.train.data import load, load_digits
from backstride.cli.train.report import confusion
from backstride.cli.train.run import Run
from backstride.cli.train.settings import MODELS, Settings, model
from backstride.weights import read_weights

pytest.importorskip("rich", reason="the command line shows its work with rich")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
save_file = pytest.importorskip("safetensors.numpy", reason="weights are kept as safetensors").save_file

pytestmark = pytest.mark.usefixtures("on_numpy")


def examples(rng, count, channels=1, classes=3):
    """Bright in one of three bands: soon learned."""
    labels = rng.integers(0, classes, count)
    images = rng.integers(0, 100, (count, channels, 9, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] += 150
    return images, labels


@pytest.fixture
def npz(tmp_path, rng):
    """Writes a file of these arrays, in which others may be changed or (None) left out."""

    def write(**changes):
        images, labels = examples(rng, 60)
        arrays = {"images": images[:, 0], "labels": labels, **changes}
        path = tmp_path / "data.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


def test_an_npz_file(npz, rng, capsys):
    path = npz()
    data = load(str(path))
    assert (len(data.train), len(data.test), data.classes) == (48, 12, ("0", "1", "2"))
    assert data.train.images.shape == (48, 1, 9, 8)
    assert 0.9 < data.train.images.max() <= 1
    assert cli.main(["train", "--data", str(path), "--epochs", "6", "--batch-size", "8"]) == 0
    out = capsys.readouterr().out
    assert "48 images to learn, 12 to test" in out
    assert "of 12 images read right" in out
    assert float(re.search(r"test accuracy ([\d.]+)%", out)[1]) > 90


def test_an_npz_file_with_a_test_of_its_own(npz, rng):
    images, labels = examples(rng, 20, channels=3)
    test_images, test_labels = examples(rng, 5, channels=3)
    data = load(str(npz(images=images / 7, labels=labels, test_images=test_images / 7, test_labels=test_labels)))
    assert (len(data.train), len(data.test)) == (20, 5)
    np.testing.assert_array_equal(data.test.images, (test_images / 7).astype(np.float32))


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


WRONG_NPZ = [
    ({"labels": None}, "labels is missing"),
    ({"more": np.zeros(3)}, "more is unexpected; expected images, labels, test_images, test_labels"),
    ({"images": np.zeros((60, 9), np.uint8)}, "images has shape (60, 9); expected (N, H, W) or (N, C, H, W)"),
    ({"images": np.zeros((60, 9, 8), int)}, "images has dtype int64; expected uint8 or floats"),
    ({"images": np.full((60, 9, 8), np.nan)}, "images holds NaN or infinity"),
    ({"labels": np.zeros(60)}, "labels has dtype float64; expected integers"),
    ({"labels": np.full(60, -1)}, "labels holds -1; expected 0 upwards"),
    ({"labels": np.full(60, 10**9)}, "labels holds 1000000000; expected less than"),
    ({"labels": np.zeros(59, int)}, "labels has shape (59,); expected one for each of images"),
    ({"test_labels": np.zeros(2, int)}, "test_images is missing"),
    (
        {"test_images": np.zeros((2, 9, 9), np.uint8), "test_labels": np.zeros(2, int)},
        "images of shapes (9, 8) and (9, 9); expected one",
    ),
    ({"images": np.zeros((0, 9, 8), np.uint8), "labels": np.zeros(0, int)}, "train images: none; test images: none"),
    ({"labels": np.array([Evil()] * 60, object)}, "is no .npz file of plain arrays, or is damaged: Object arrays"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_NPZ, ids=[message for _, message in WRONG_NPZ])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_wrong_npz_file_is_one_line_before_any_work(changes, message, npz, capsys):
    if "images" in changes and changes["images"].ndim > 2 and changes["images"].dtype.kind == "f":
        changes = {**changes, "labels": np.zeros(60, int)}
    path = npz(**changes)
    assert cli.main(["train", "--data", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"backstride: error: {path}")
    assert message in err
    assert err.count("\n") == 1


def test_files_that_are_no_data(tmp_path, capsys):
    path = tmp_path / "data.npz"
    np.save(tmp_path / "one.npy", np.zeros(3))
    for content, message in (
        (b"PK\x03\x04 damaged", "is no .npz file of plain arrays, or is damaged"),
        (b"\x80\x04K\x01.", "is no .npz file of plain arrays, or is damaged"),
        ((tmp_path / "one.npy").read_bytes(), "holds a single array; expected an .npz file"),
        (b"", "is no .npz file"),
    ):
        path.write_bytes(content)
        assert cli.main(["train", "--data", str(path)]) == 1
        assert message in (err := capsys.readouterr().err)
        assert err.count("\n") == 1
    assert cli.main(["train", "--data", str(tmp_path / "nothing")]) == 1
    assert "argument --data: there is no" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path, rng):
    """A folder with 20 small images of each of two classes, grey or in colours."""
    image_of = pytest.importorskip("PIL.Image", reason="images are read with Pillow").fromarray

    def make(root=tmp_path / "images", channels=1, count=20):
        for label, name in enumerate(("dark", "light")):
            (root / name).mkdir(parents=True)
            for number in range(count):
                shape = (8, 10) if channels == 1 else (8, 10, 3)
                pixels = rng.integers(0, 100, shape, dtype=np.uint8) + np.uint8(120 * label)
                image_of(pixels).save(root / name / f"{number}.png")
        (root / "dark" / "notes.txt").write_text("no image", encoding="utf-8")
        return root

    return make


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_images(channels, folder, capsys, tmp_path):
    root = folder(channels=channels)
    data = load(str(root))
    assert (len(data.train), len(data.test), data.classes) == (32, 8, ("dark", "light"))
    assert data.train.images.shape == (32, channels, 8, 10)
    bright = data.train.images.mean(axis=(1, 2, 3)) > 0.4
    np.testing.assert_array_equal(bright, data.train.labels == 1)
    plot = tmp_path / "run.svg"
    options = ["--data", str(root), "--epochs", "1", "--model", "lenet5", "--lr", "1e-9", "--plot", str(plot)]
    assert cli.main(["train", *options]) == 0
    out = capsys.readouterr().out
    assert re.search(r"most often misread: (dark as light|light as dark) \(\d\)", out)
    assert plot.exists()


def test_a_folder_with_train_and_test(folder, tmp_path):
    root = tmp_path / "both"
    folder(root / "train", count=5)
    folder(root / "test", count=2)
    data = load(str(root))
    assert (len(data.train), len(data.test), data.classes) == (10, 4, ("dark", "light"))
    assert data.test.labels.tolist() == [0, 0, 1, 1]


def test_folders_that_are_no_data(folder, tmp_path, capsys, monkeypatch):
    from PIL import Image

    root = folder()

    def error():
        assert cli.main(["train", "--data", str(root)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert "cannot be read as an image: Image size (80 pixels) exceeds limit of 50 pixels" in error()
    monkeypatch.undo()
    Image.fromarray(np.zeros((9, 10), np.uint8)).save(root / "light" / "x.png")
    assert re.search(r"light/x.png has 10x9 pixels; expected 10x8 as .*/dark/0.png", error())
    (root / "light" / "x.png").write_bytes(b"\x89PNG damaged")
    assert "light/x.png cannot be read as an image" in error()
    for file in root.rglob("*.png"):
        file.unlink()
    assert "no files that end in .png" in error()
    for sub in root.iterdir():
        for file in sub.iterdir():
            file.unlink()
        sub.rmdir()
    assert "has no subfolders; expected one with images for each class" in error()


def test_the_models_are_those_of_backstride_models():
    assert {"small", "lenet5", "resnet18"} <= set(MODELS) <= {"small", *backstride.models.__all__}


@pytest.mark.parametrize("name", ["small", "lenet5", "resnet18"])
def test_models_take_small_images(name):
    net = model(Settings(model=name), (1, 8, 8), 10)
    assert net.eval()(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 10)


def test_images_too_small_for_a_model(npz, capsys):
    path = npz(images=np.zeros((60, 1, 1), np.uint8))
    assert "argument --model: small cannot take images of 1x1x1" in refused(capsys, "train", "--data", str(path))


def test_a_model_learns(npz, capsys):
    options = ["--model", "lenet5", "--schedule", "one-cycle", "--lr", "0.1", "--epochs", "8", "--batch-size", "12"]
    assert cli.main(["train", "--data", str(npz()), *options]) == 0
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes_learn_the_same(dtype, npz):
    pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
    path = str(npz())
    runs = [Run(Settings(data=path, dtype=name, batch_size=8)) for name in ("float32", dtype)]
    for _ in range(3):
        expected, found = (run.epoch(lambda: None) for run in runs)
    # weights and activations are rounded in two layers, of losses about 1
    tolerance = {"float16": 2.0**-7, "bfloat16": 2.0**-4, "float64": 1e-4}[dtype]
    assert found.loss == pytest.approx(expected.loss, abs=tolerance)
    assert next(runs[1].net.parameters()).data.dtype.name == dtype


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "cosine", "schedule_epochs": 3, "augment": "flip+crop"},
        {"schedule": "step", "schedule_epochs": 3, "dtype": "float16"},
        {"model": "lenet5", "augment": "crop"},
    ],
)
def test_a_run_gone_on_with_is_the_uninterrupted_one(options, npz, tmp_path):
    settings = Settings(data=str(npz()), batch_size=16, lr=0.1, **options)
    whole, half = Run(settings), Run(settings)
    half.epoch(lambda: None)
    half.save(tmp_path / "half.safetensors")
    resumed = Run.load(tmp_path / "half.safetensors")
    assert resumed.settings == settings
    for run in (whole, resumed):
        while len(run.history) < 3:
            run.epoch(lambda: None)
    whole.save(tmp_path / "whole.safetensors")
    resumed.save(tmp_path / "resumed.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "resumed.safetensors").read_bytes()


@pytest.mark.parametrize("options", [{"model": "lenet5", "augment": "flip+crop", "dtype": "float16"}, {}])
def test_a_run_left_in_an_epoch_is_the_uninterrupted_one(options, npz, tmp_path, monkeypatch):
    """With dropout, whose random numbers go on, and the means of the epoch that was left."""
    small = settings_module.network

    def with_dropout(rng, *arguments):
        return backstride.layers.Sequential(small(rng, *arguments), backstride.layers.Dropout(0.3, rng=rng))

    monkeypatch.setattr(settings_module, "network", with_dropout)
    settings, path = Settings(data=str(npz()), batch_size=9, lr=0.1, **options), tmp_path / "half.safetensors"
    whole, left = Run(settings), Run(settings)
    assert left.epoch(lambda: None) is not None
    assert left.epoch(lambda: left.batch == 4) is None
    left.save(path)
    resumed = Run.load(path)
    assert (resumed.steps, resumed.batch, len(resumed.history)) == (10, 4, 1)
    for run in (whole, resumed):
        while len(run.history) < 3:
            run.epoch(lambda: None)
        run.save(tmp_path / f"{run is whole}.safetensors")
    assert (tmp_path / "True.safetensors").read_bytes() == (tmp_path / "False.safetensors").read_bytes()


def test_a_run_left_after_the_last_batch_of_an_epoch_is_still_to_be_tested(npz, tmp_path):
    run, path = Run(Settings(data=str(npz()), batch_size=30)), tmp_path / "run.safetensors"
    assert run.epoch(lambda: run.batch == run.batches) is None
    run.save(path)
    resumed = Run.load(path)
    assert resumed.epoch(pytest.fail) == run.epoch(pytest.fail)


def test_another_machine_is_said(npz, tmp_path, monkeypatch, caplog):
    run, path = Run(Settings(data=str(npz()), batch_size=30)), tmp_path / "run.safetensors"
    run.save(path)
    Run.load(path)
    assert not caplog.records
    here = state_module.decides_bits()
    monkeypatch.setattr(state_module, "decides_bits", lambda: {**here, "numpy": "1.0", "processor": "abacus"})
    Run.load(path)
    (record,) = caplog.records
    assert f"numpy was {here['numpy']} and is 1.0; processor was {here['processor']} and is abacus" in record.message


def test_a_schedule_ends_where_it_was_made_to(npz, tmp_path, capsys):
    path = str(tmp_path / "run.safetensors")
    options = ["--data", str(npz()), "--schedule", "cosine", "--batch-size", "30"]
    assert cli.main(["train", *options, "--epochs", "2", "--save", path]) == 0
    assert capsys.readouterr().out.endswith(f"saved {path}\n")  # and no advice to go on
    error = refused(capsys, "train", "--resume", path, "--epochs", "3")
    assert f"argument --epochs: 3, but the schedule of {path} ends after 2" in error
    assert "has 2 epochs already" in refused(capsys, "train", "--resume", path)
    assert "was begun with cosine" in refused(capsys, "train", "--resume", path, "--schedule", "constant")


def test_a_run_of_version_0_2_goes_on(tmp_path):
    run = Run(Settings(batch_size=500))
    run.epoch(lambda: None)
    path = tmp_path / "run.safetensors"
    run.save(path)
    weights, metadata = read_weights(path)
    training = json.loads(metadata["backstride train"])
    del training["loss_scale"]
    training["settings"] = {name: training["settings"][name] for name in ("batch_size", "lr", "seed")}
    del weights["optimizer.counts"]
    save_file(weights, path, {"backstride train": json.dumps(training)})
    resumed = Run.load(path)
    for each in (run, resumed):
        each.epoch(lambda: None)
    assert resumed.history == run.history


def test_augmentation_follows_from_seed_epoch_and_sample():
    train, _ = load_digits()
    images = train.images[:40]

    def changed(numbers, kinds=("flip", "crop"), seed=0, epoch=0):
        augmentation = Augmentation(kinds, seed, epoch, 40, (8, 8))
        return augmentation(images[numbers], np.array(numbers))

    whole = changed(range(40))
    np.testing.assert_array_equal(changed([7, 3]), whole[[7, 3]])  # in any batch, in any order
    for other in (changed(range(40), epoch=1), changed(range(40), seed=1)):
        assert (other != whole).any(axis=(1, 2, 3)).sum() > 30
    flipped = changed(range(40), kinds=("flip",))
    mirrored = [np.array_equal(f, image[..., ::-1]) for f, image in zip(flipped, images, strict=True)]
    assert 10 < sum(mirrored) < 30
    assert all(m or np.array_equal(f, image) for m, f, image in zip(mirrored, flipped, images, strict=True))
    shifts = set()
    for cropped, image in zip(
        changed(range(40), kinds=("crop",)), np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1))), strict=True
    ):
        found = [(h, w) for h in range(3) for w in range(3) if np.array_equal(cropped[0], image[h : h + 8, w : w + 8])]
        assert found
        shifts |= set(found)
    assert len(shifts) == 9


def test_confusion_counts():
    labels, read = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 2])
    assert confusion(labels, read, 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


def test_capture_needs_cupy(capsys):
    assert "argument --capture: CUDA graphs need the backend cupy" in refused(capsys, "train", "--capture")


@pytest.mark.emulated
def test_captured_training_is_the_eager_one(monkeypatch, rng, tmp_path):
    from cupys import emulated

    images, labels = examples(rng, 20)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    with emulated(monkeypatch):
        eager, captured = (
            Run(Settings(data=str(tmp_path / "data.npz"), batch_size=6, augment="crop", dtype="float16"), each)
            for each in (False, True)
        )
        for _ in range(2):
            assert captured.epoch(lambda: None) == eager.epoch(lambda: None)
        for name, array in captured.net.state_dict().items():
            assert array.get().tobytes() == eager.net.state_dict()[name].get().tobytes()
    assert backstride.get_backend() == "numpy"
