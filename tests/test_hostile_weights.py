"""Weights and cards of strangers: bombs, lies and damage end in one line, before any memory is taken."""

import io
import json
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fabricate_pictures import Call, pictures
from steadyread.errors import InputRefused, UsageError
from steadyread.limits import MOST_PARAMETERS, MOST_VALUES
from steadyread.models.loading import (
    load_classifier_module,
    load_saved,
    read_card,
    read_state,
    refuse_not_finite,
    save_weights,
    sketched,
)


def card(**changed: Any) -> dict[str, Any]:
    return {"model": "vgg16", "arguments": {"width": 0.01, "size": 12, "classes": 2, "channels": 1},
            "output": "logits", "normalise": "unit", "threshold": 0.5, "window": None, "preparation": {"size": 12},
            "data": {"name": "images", "images": 24}, "taught": {"images": [], "patients": []}, "limit": None,
            "split": {}} | changed


def network() -> nn.Module:
    return load_classifier_module("vgg16", width=0.01, size=12)


def header(path: Path, content: bytes, size: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(content) if size is None else size) + content)
    return path


def with_metadata(path: Path, metadata: dict[str, str]) -> Path:
    return header(path, json.dumps({"__metadata__": metadata}).encode())


def repacked(path: Path, edit: Callable[[str, bytes], bytes] = lambda _, content: content,
             compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A torch archive written anew, its members changed or compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, edit(name, content))
    return path


def test_a_compressed_storage_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4_000_000)}, tmp_path / "w.pt")
    bomb = repacked(tmp_path / "w.pt")
    assert bomb.stat().st_size < 40_000
    with pytest.raises(InputRefused, match=r"compressed, .* and would unpack to 16,0"):
        read_state(bomb)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.start_dir
    entries, place = [], start      # the entry of the values twice in the directory, under two names
    while content[place:place + 4] == b"PK\x01\x02":
        size = 46 + sum(struct.unpack_from("<3H", content, place + 28))
        entries.append(content[place:place + size])
        place += size
    entries += [entry.replace(b"/data/0", b"/data/9") for entry in entries if b"/data/0" in entry]
    count, doubled = len(entries), b"".join(entries)
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(doubled), start, 0)
    (tmp_path / "w.pt").write_bytes(content[:start] + doubled + tail)
    with pytest.raises(InputRefused, match="its members overlap"):
        read_state(tmp_path / "w.pt")


def test_a_tensor_that_repeats_one_value_without_end_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "w.pt")
    with pytest.raises(InputRefused, match="of which only"):
        read_state(tmp_path / "w.pt")


def test_tensors_that_repeat_the_same_values_many_times_are_refused(tmp_path: Path) -> None:
    stored = torch.zeros(2**16)
    torch.save({f"{name}": stored[:] for name in range(600)}, tmp_path / "w.pt")   # 157 MB of 0.3 MB
    with pytest.raises(InputRefused, match="157,286,400 bytes together, of which only"):
        read_state(tmp_path / "w.pt")
    torch.save({"state_dict": {"a": stored}, "tied": {"b": stored, "c": stored}}, tmp_path / "w.pt")
    assert read_state(tmp_path / "w.pt")["a"].shape == stored.shape


def test_dictionaries_within_each_other_without_end_are_gone_through_once(tmp_path: Path) -> None:
    nested: dict[str, Any] = {"a": torch.ones(2)}
    for _ in range(3):
        nested = {f"{name}": nested for name in range(400)}   # 64 million places, 4 dictionaries
    torch.save(nested, tmp_path / "w.pt")
    assert read_state(tmp_path / "w.pt")["a"].tolist() == [1, 1]


def test_a_flipped_weight_in_a_torch_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(300.0)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.index(struct.pack("<3f", 7, 8, 9))] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputRefused, match="Bad CRC-32 for file 'w/data/0'"):
        read_state(tmp_path / "w.pt")


def test_a_tensor_marked_as_a_folder_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(300.0)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.rindex(b"w/data/0") - 8] |= 0x10   # the attributes in the archive's directory
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputRefused, match="its member w/data/0 is marked as a folder"):
        read_state(tmp_path / "w.pt")


def test_an_archive_written_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3.0)}, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_state(tmp_path / "w.pt")["a"].tolist() == [0, 1, 2]


class Zeros:
    """What pickles as a call that makes 16 GB of zeros."""

    def __reduce__(self) -> tuple[type[bytearray], tuple[int]]:
        return bytearray, (2**34,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_call_that_makes_zeros_is_refused_before_it_is_made(zipped: bool, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": Zeros()}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputRefused, match="it holds a bytearray"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize(("kind", "size"), [("F8_E4M3", 1.0), ("F8_E5M2", 1.0), ("F4", 0.5)])
def test_numbers_of_eight_bits_and_fewer_are_refused_by_name(kind: str, size: float, tmp_path: Path) -> None:
    of_eight = {"dtype": kind, "shape": [8], "data_offsets": [0, int(8 * size)]}
    file = header(tmp_path / "w.safetensors", json.dumps({"a": of_eight}).encode())
    file.write_bytes(file.read_bytes() + bytes(int(8 * size)))
    with pytest.raises(InputRefused, match="'a' holds no plain numbers"):
        refuse_not_finite(file, "a", read_state(file)["a"])


def test_a_card_of_more_values_than_any_is_refused(tmp_path: Path) -> None:
    text = "[" + "[]," * (MOST_VALUES + 1) + "[]]"
    with pytest.raises(InputRefused, match="more than 2,000,000 values"):
        read_card(with_metadata(tmp_path / "w.safetensors", {"card": text}))


@pytest.mark.parametrize("value", [torch.zeros(2, device="meta"), torch.zeros(2).to_sparse(),
                                   torch.zeros(2, 2).to_sparse()])
def test_tensors_that_hold_no_plain_numbers_are_refused_by_name(value: torch.Tensor, tmp_path: Path) -> None:
    module = network()
    state = module.state_dict() | {"head.7.bias": value}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputRefused, match=r"'head.7.bias' (holds no plain numbers|has the shape)|cannot be read"):
        load_classifier_module("vgg16", tmp_path / "w.pt", width=0.01, size=12)


@pytest.mark.parametrize("content", [b"\x80\x02}q\x00.", pickle.dumps({"a": 1}), b"PK\x05\x06" + bytes(18), b"\x80",
                                     b"PK\x03\x04" + bytes(400)])
def test_what_is_no_archive_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputRefused) as refused:
        read_state(tmp_path / "w.pt")
    assert len(str(refused.value)) < 500


def test_every_byte_of_a_small_archive_may_be_wrong(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3.0)}, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    for at in range(0, len(content), 7):
        (tmp_path / "w.pt").write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:])
        try:
            read_state(tmp_path / "w.pt")
        except InputRefused:
            continue


@pytest.mark.parametrize(("size", "content"), [(90_000_000, b'{"a":'), (2**63, b"{}"), (2**64 - 1, b""),
                                               (5, b'{"a":')])
def test_a_header_that_claims_more_than_there_is_is_refused(size: int, content: bytes, tmp_path: Path) -> None:
    path = header(tmp_path / "w.safetensors", content, size)
    for read in (read_card, read_state):
        with pytest.raises(InputRefused, match="cannot be read as weights"):
            read(path)


def test_a_header_larger_than_any_is_refused_unread(tmp_path: Path) -> None:
    path = header(tmp_path / "w.safetensors", b"{}", 30 * 2**20)
    with path.open("r+b") as file:
        file.truncate(60 * 2**20)
    with pytest.raises(InputRefused, match=r"header claims 31,457,280 bytes, where 25,165,824 can be"):
        read_card(path)


@pytest.mark.parametrize(("text", "told"), [
    ("[" * 100_000, "cannot be read as weights"), ("[" * 90 + "]" * 90, "nested more than 64 deep"),
    ('{"model": ["vgg16"]}', r"expected model as text, got \['vgg16'\]"), ("[]", "expected a table of settings"),
    ('{"taught": {"images": [[1]]}}', "expected taught.images as a list of text"),
    ('{"model": "vgg16", "arguments": {"width": NaN}}', "arguments.width must be a finite number"),
    (f'{{"limit": {2**70}}}', "limit must be a whole number of at most 63 bits")])
def test_a_card_that_is_none_of_ours_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=told) as refused:
        read_card(with_metadata(tmp_path / "w.safetensors", {"card": text}))
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("arguments", [
    {"convolutions": [10_000_000] * 5}, {"size": 10**9}, {"channels": 10**18}, {"width": 4.0, "size": 4096},
    {"size": [8, 10**15]}])
def test_networks_larger_than_any_are_never_made(arguments: dict[str, Any], tmp_path: Path) -> None:
    save_weights(network(), tmp_path / "w.safetensors", card(arguments=arguments))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((InputRefused, UsageError)):
        load_saved(tmp_path / "w.safetensors")
    with pytest.raises((InputRefused, UsageError)):
        sketched("vgg16", arguments)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000   # kB


@pytest.mark.parametrize("arguments", [{"ratings": 10**11}, {"size": 5000}, {"classes": 10**12}, {"width": 10.0},
                                       {"size": "32"}, {"variant": ["wider"]}, {"depth": 10**9}])
def test_nodule_networks_larger_than_any_are_refused_before_they_are_made(arguments: dict[str, Any]) -> None:
    with pytest.raises((InputRefused, UsageError)):
        load_classifier_module("nodule_cnn", **arguments)


def test_a_network_that_the_file_does_not_fill_is_never_made(tmp_path: Path) -> None:
    save_weights(network(), tmp_path / "w.safetensors", card(arguments={"size": 116, "width": 1.2}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused, match="does not fit the network 'vgg16'"):
        load_saved(tmp_path / "w.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_sketch_has_the_names_and_shapes_of_the_network() -> None:
    for name, arguments in (("vgg16", {"width": 0.01, "size": 8, "norm": True}), ("narrow_vgg", {"size": 16}),
                            ("nodule_cnn", {"width": 0.02, "size": 8, "ratings": 5})):
        made = load_classifier_module(name, **arguments)
        assert {key: tuple(shape) for key, shape in sketched(name, arguments).items()} == {
            key: tuple(value.shape) for key, value in made.state_dict().items()}
    assert sum(shape.numel() for shape in sketched("vgg16", {}).values()) < MOST_PARAMETERS


@pytest.mark.parametrize(("changed", "told"), [
    ({"arguments": {"convolutions": [10_000_000] * 5}}, "the card beside the weights: convolutions must be five"),
    ({"output": "class"}, "the card beside the weights: "), ({"preparation": {"size": -1}}, "preparation.size"),
    ({"normalise": {"a": 1}}, "the card beside the weights: the settings: model.normalise"),
    ({"preparation": {"size": 10**9}}, "would become 1000000000x"),
    ({"model": "os:abort"}, "which is not built in: if you trust that code")])
def test_the_command_says_which_card_asks_for_what_cannot_be(changed: dict[str, Any], told: str, steadyread: Call,
                                                             tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    taught = {"taught": None} if "split" in changed or "limit" in changed else {}
    whole = card(**changed)
    if taught:
        del whole["taught"]      # else the split is taken from a card of these very images alone
    save_weights(network(), tmp_path / "w.safetensors", whole)
    found = steadyread("assess", "--data", "images", "--weights", "w.safetensors")
    assert found.code == 3, found
    assert told in found.err


@pytest.mark.slow
def test_a_card_without_a_split_is_one_of_images_to_assess(steadyread: Call, tmp_path: Path) -> None:
    pictures(tmp_path / "images", 24)
    told = card(arguments=card()["arguments"] | {"norm": False, "convolutions": [2, 2, 3, 3, 3]})
    del told["split"], told["taught"], told["limit"]
    save_weights(network(), tmp_path / "w.safetensors", told)
    found = steadyread("assess", "--data", "images", "--weights", "w.safetensors", "--set", "attacks.use=[]",
                       "--limit", 4)
    assert found.code == 0, found.err


@pytest.mark.skipif(sys.platform != "linux", reason="limits addresses as Linux does")
def test_a_bomb_is_refused_where_memory_is_short(tmp_path: Path) -> None:
    """In a process that may not take more: 1.5 MB that would unpack to 1.6 GB."""
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(200 if name.endswith("/data/0") else 0):
                    member.write(bytes(2**20))
                member.write(content)
    code = ("import resource, sys\nfrom steadyread.models.loading import read_state\n"
            "from steadyread.errors import InputRefused\nfrom pathlib import Path\n"
            f"used = int(open('/proc/self/statm').read().split()[0]) * {resource.getpagesize()}\n"
            "resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20,) * 2)\n"
            "try:\n    read_state(Path(sys.argv[1]))\nexcept InputRefused as problem:\n    print(problem)\n")
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path / "w.pt")], capture_output=True, text=True)
    assert "would unpack to 209,7" in told.stdout, told


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_complex_weights_of_a_real_network_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    """Filled in, they would lose their imaginary parts in silence."""
    file, state = tmp_path / f"w.{suffix}", network().state_dict()
    state["head.7.bias"] = torch.complex(state["head.7.bias"], torch.ones(2))
    torch.save(state, file) if suffix == "pt" else save_file(state, file)
    with pytest.raises(InputRefused, match=r"'head\.7\.bias' holds complex numbers, where the network 'vgg16'"):
        load_classifier_module("vgg16", file, width=0.01, size=12)
