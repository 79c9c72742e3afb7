"""Pixels mean what they say: every type of value comes to one scale, or is refused."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reclaim.core.errors import BadInput
from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.inputs.decoding import decode
from reclaim.data.inputs.image import Preprocess
from reclaim.data.load import open_source
from reclaim.data.loader import batches
from reclaim.models.directory import load_model, save_model

GREY = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def stored(image: Image.Image, form: str, **more: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **more)  # type: ignore[arg-type]
    return buffer.getvalue()


def read(image: Image.Image, form: str, channels: int | None = None, **more: object) -> torch.Tensor:
    return Preprocess(channels=channels)(decode(stored(image, form, **more), "x"))


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize(
    ("image", "form"),
    [
        (Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"),
        (Image.fromarray((GREY.astype(np.uint16) * 257).astype(">u2")), "TIFF"),
        (Image.fromarray(GREY.astype(np.int32) * 257), "PPM"),
        (Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"),
    ],
    ids=["16-bit PNG", "16-bit TIFF", "big-endian TIFF", "16-bit PGM", "float TIFF"],
)
def test_wide_grey_is_what_it_is_in_8_bits(image: Image.Image, form: str, channels: int | None) -> None:
    eight = read(Image.fromarray(GREY), "PNG", channels)
    torch.testing.assert_close(read(image, form, channels), eight, atol=1e-6, rtol=0)
    assert eight.shape == (channels or 1, 6, 9)
    sized = Preprocess(channels=channels, resize=4, crop=4)
    made, plain = (
        sized(decode(stored(one, kind), "x")) for one, kind in ((image, form), (Image.fromarray(GREY), "PNG"))
    )
    torch.testing.assert_close(made, plain, atol=1 / 255, rtol=0)


def tiff(pixels: bytes, width: int, bits: int, photometric: int, kind: int = 1) -> bytes:
    """A file of one row of grey, which Pillow reads and does not write."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1)]
    tags += [(279, len(pixels)), (339, kind)]
    entries = [number.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for number, value in tags]
    start = (8 + len(pixels)).to_bytes(4, "little")
    return b"II*\0" + start + pixels + len(tags).to_bytes(2, "little") + b"".join(entries) + bytes(4)


def test_twelve_bits_are_scaled_by_twelve() -> None:
    """Two values in 3 bytes, as microscopes pack them."""
    values = [0, 4095, 2048, 1024]
    pairs = zip(values[::2], values[1::2], strict=True)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    made = Preprocess()(decode(tiff(packed, 4, 12, 1), "x"))
    torch.testing.assert_close(made[0, 0], torch.tensor(values) / 4095)


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_white_is_zero_where_the_file_says_so(kind: str) -> None:
    values, most = np.array([0, 51, 255]), {"u1": 255, "u2": 65535, "f4": 1}[kind]
    pixels = (values / 255 * most).astype(f"<{kind}")
    for photometric, expected in ((1, values / 255), (0, 1 - values / 255)):
        file = tiff(pixels.tobytes(), 3, 8 * pixels.itemsize, photometric, 3 if kind == "f4" else 1)
        torch.testing.assert_close(Preprocess()(decode(file, "x"))[0, 0], torch.from_numpy(expected).float())


@pytest.mark.parametrize(
    ("image", "form", "why"),
    [
        (Image.fromarray(GREY.astype(np.int32) * 257), "TIFF", "whole numbers of 32 bits"),
        (Image.fromarray(GREY.astype(np.float32)), "TIFF", r"floats from \d+ to \d+"),
        (Image.fromarray(GREY.astype(np.float32) / 255 - 0.5), "TIFF", r"floats from -0\.\d+ to"),
        (Image.fromarray(np.where(GREY > 99, np.nan, 0.5).astype(np.float32)), "TIFF", "floats from nan to nan"),
        (Image.frombytes("LAB", (9, 6), COLOUR.tobytes()), "TIFF", "colours in CIELAB"),
    ],
)
def test_values_that_nobody_can_scale_are_refused_by_name(image: Image.Image, form: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"row 7 cannot be read: it holds {why}"):
        decode(stored(image, form), "row 7")


@pytest.mark.parametrize(
    ("mode", "form", "wanted"),
    [
        ("1", "PNG", "L"),
        ("P", "PNG", "RGB"),
        ("P", "GIF", "RGB"),
        ("CMYK", "TIFF", "RGB"),
        ("LA", "PNG", "LA"),
        ("RGBA", "PNG", "RGBA"),
        ("YCbCr", "JPEG", "RGB"),
        ("1", "BMP", "L"),
        ("1", "TIFF", "L"),
    ],
)
def test_palettes_bits_and_inks_are_their_colours(mode: str, form: str, wanted: str) -> None:
    flat = np.zeros((8, 8, 3), dtype=np.uint8)
    flat[:4] = {"1": (255, 255, 255), "LA": (80, 80, 80)}.get(mode, (250, 20, 60))
    image = Image.fromarray(flat)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    made = decode(stored(image, form, **({"quality": 100, "subsampling": 0} if form == "JPEG" else {})), "x")
    assert made.mode == wanted
    for channels, expected in ((3, flat), (1, np.asarray(Image.fromarray(flat).convert("L"))[:, :, None])):
        x = Preprocess(channels=channels)(made).permute(1, 2, 0)
        torch.testing.assert_close(x, torch.from_numpy(expected / np.float32(255)), atol=0.03, rtol=0)
    assert Preprocess()(made).shape[0] == len(wanted.rstrip("A")) and float(Preprocess()(made).max()) > 0.25


def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).quantize(8)
    made = decode(stored(image, "PNG", transparency=bytes([0, 255] * 4)), "x")
    assert made.mode == "RGBA"
    assert torch.equal(Preprocess(channels=3)(made), Preprocess(channels=3)(image.convert("RGB")))


@given(st.integers(0, 65535))
def test_sixteen_bits_are_divided_by_their_largest_number(value: int) -> None:
    x = Preprocess(channels=3)(np.full((2, 3), value, dtype=np.uint16))
    assert x.shape == (3, 2, 3) and float(x[2, 1, 1]) == np.float32(value / 65535)


# arrays


@settings(max_examples=60)
@given(
    st.integers(5, 12), st.integers(5, 12), st.sampled_from([1, 2, 3, 4]), st.sampled_from(["u1", "u2", "?"]), st.data()
)
def test_layouts_of_one_image_are_one_image(h: int, w: int, c: int, kind: str, data: st.DataObject) -> None:
    most = {"u1": 255, "u2": 255, "?": 1}[kind]
    seed = data.draw(st.integers(0, 99))
    values = np.random.default_rng(seed).integers(0, most + 1, (h, w, c))
    array = values.astype(kind) * (np.uint16(257) if kind == "u2" else 1) if kind != "?" else values.astype(bool)
    made = [Preprocess()(array), Preprocess()(array.transpose(2, 0, 1))] + (
        [Preprocess()(array[:, :, 0])] if c == 1 else []
    )
    for x in made:
        torch.testing.assert_close(x, torch.from_numpy(values / np.float32(most)).permute(2, 0, 1).float())


def test_one_or_three_channels_go_before_two_or_four() -> None:
    assert Preprocess()(np.zeros((4, 5, 3), dtype=np.uint8)).shape == (3, 4, 5)
    assert Preprocess()(np.zeros((3, 5, 4), dtype=np.uint8)).shape == (3, 5, 4)
    assert Preprocess()(np.zeros((2, 4, 1), dtype=np.uint8)).shape == (1, 2, 4)
    assert Preprocess()(np.zeros((4, 8, 8), dtype=np.uint8)).shape == (4, 8, 8)


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 8, 1), (1, 1, 3), (5, 6, 7), (2, 8, 4), (2, 3, 4, 5)])
def test_layouts_that_cannot_be_told_apart_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"channels\] and|was expected") as refused:
        Preprocess()(np.zeros(shape, dtype=np.uint8))
    assert str(list(shape)) in str(refused.value)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u4", "u8", "c8", "M8[s]"])
def test_types_that_do_not_say_what_white_is_are_refused(kind: str) -> None:
    with pytest.raises(BadInput, match="does not say what white is"):
        Preprocess()(np.zeros((5, 6), dtype=kind))


def test_numbers_of_a_row_pass_as_they_are_and_text_does_not() -> None:
    assert Preprocess()(np.array([1, 70000], dtype=np.int32)).tolist() == [1.0, 70000.0]
    with pytest.raises(BadInput, match="no real numbers"):
        Preprocess()(np.array(["a"]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_refused(bad: float) -> None:
    x = np.array([1.0, bad, 2.0])
    for make in (Preprocess(), AsTensors()):
        with pytest.raises(BadInput, match=r"NaN or infinite numbers \(1 of 3\)"):
            make(x)
    with pytest.raises(BadInput, match="NaN"):
        AsTensors()({"a": np.ones(2), "b": x})
    assert AsTensors()(np.array([65535], dtype=np.uint16)).tolist() == [65535]


@pytest.mark.parametrize(
    ("preprocess", "example", "message"),
    [
        (Preprocess(mean=(0.5,) * 3, std=(1.0,) * 3), GREY, "given for 3 channels, and inputs of shape [1, 6, 9]"),
        (Preprocess(mean=(0.5,), std=(1.0,)), COLOUR, "given for 1 channels, and inputs of shape [3, 6, 9]"),
        (Preprocess(mean=(0.5,) * 3, std=(1.0,) * 3), np.zeros((8, 8, 3)), "they stand last here; transpose the array"),
        (Preprocess(channels=3), np.zeros((1, 8, 8)), "the network takes 3 channels, and inputs of shape [1, 8, 8]"),
    ],
)
def test_another_number_of_channels_is_refused(preprocess: Preprocess, example: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        preprocess(example)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"mean": (0.5,), "std": ()}, "of 1 and 0 channels"),
        ({"mean": (0.5,), "std": (0.0,)}, "above 0"),
        ({"mean": (float("nan"),), "std": (1.0,)}, "each a number"),
        ({"channels": 1, "mean": (0.5,) * 3, "std": (0.5,) * 3}, "of 3 channels, and the network takes images of 1"),
    ],
)
def test_means_that_do_not_fit_are_refused_before_any_image_is_read(numbers: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Preprocess(**numbers)  # type: ignore[arg-type]


# what is said of images while they are read


TURNS = {1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T, 6: np.rot90(GREY, -1)}
TURNS |= {7: GREY[::-1, ::-1].T, 8: np.rot90(GREY)}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("tag", sorted(TURNS))
def test_an_image_is_turned_only_where_that_is_asked(tag: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    told: list[str] = []
    more = {"lossless": True} if form == "WEBP" else {}
    made = decode(stored(Image.fromarray(GREY), form, exif=exif, **more), "x", told.append)
    assert told == (["turned"] if tag > 1 else [])
    plain, upright = Preprocess(channels=1)(made), Preprocess(channels=1, upright=True)(made)
    assert torch.equal((plain[0] * 255).round().byte(), torch.from_numpy(GREY))
    assert torch.equal((upright[0] * 255).round().byte(), torch.from_numpy(TURNS[tag].copy()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_tags_turn_nothing() -> None:
    assert decode(stored(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "x").size == (9, 6)


def test_it_is_said_once_and_counted_by_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(4):
        path = tmp_path / "ant" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(COLOUR).save(path, exif=exif if i else Image.Exif())
    pictures = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    pictures[0].save(tmp_path / "ant" / "4.tif", save_all=True, append_images=pictures[1:])
    pictures[0].convert("RGBA").save(tmp_path / "ant" / "5.png")
    see_through = pictures[0].convert("RGBA")
    see_through.putalpha(9)
    see_through.save(tmp_path / "ant" / "6.png")
    data = open_source(str(tmp_path))
    rows = data.split("all").rows(torch.arange(1, 7))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for i in range(len(rows)):
                rows.read(i)
    assert [Path(record.message.split(" ")[0]).name for record in caplog.records] == ["1.png", "4.tif", "6.png"]
    assert data.noticed is not None
    assert data.noticed.counts() == {"turned": 3, "several_frames": 1, "transparent": 1}
    assert torch.equal(Preprocess()(rows.read(3)), Preprocess()(COLOUR))


def test_workers_of_a_loader_count_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "ant").mkdir()
    for i in range(6):
        Image.fromarray(COLOUR).save(tmp_path / "ant" / f"{i}.png", exif=exif)
    data = open_source(str(tmp_path))
    assert len(list(batches(data.split("all"), Preprocess(), 2, workers=2))) == 3
    assert data.noticed is not None and data.noticed.counts() == {"turned": 6}


def test_a_model_remembers_that_its_images_are_turned(tmp_path: Path) -> None:
    model = load_model("reclaim/digits_cnn", upright=True, classes=list("0123456789"))
    (tmp_path / "m").mkdir()
    save_model(tmp_path / "m", model)
    assert load_model(str(tmp_path / "m")).images.upright
    assert not load_model(str(tmp_path / "m"), upright=False).images.upright


@pytest.mark.parametrize(
    "break_it", [lambda b: b[: len(b) // 2], lambda b: b[:20], lambda b: b"", lambda b: b"\x89PNG" + b]
)
def test_a_broken_image_is_one_message_that_names_it(break_it) -> None:
    whole = stored(Image.fromarray(COLOUR), "PNG")
    with pytest.raises(BadInput, match="row 3 cannot be read as an image"):
        decode(break_it(whole), "row 3")


def test_a_bomb_is_one_message_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(BadInput, match="row 3 cannot be read as an image"):
        decode(stored(Image.fromarray(COLOUR), "PNG"), "row 3")


def test_wide_grey_stays_in_range_where_bicubic_resizing_overshoots() -> None:
    edge = np.repeat(np.array([0, 65535], dtype=np.uint16), 8)[None].repeat(16, axis=0)
    x = Preprocess(resize=40, interpolation="bicubic")(edge)
    assert float(x.min()) == 0 and float(x.max()) == 1
