"""Damage of every kind, pure and seeded: `damaged(content of a file, its name, generator) -> what was done, other content`.

Most kinds know bytes only. Some know what the bytes mean: they change a number in a text, a field of a header, what a packed file
holds, or one of the parts that `structured` knows.
"""

import gzip
import io
import re
import struct
import warnings
import zipfile

from tests.fuzz.structured import element, tensor, value
from tests.fuzz.values import ARGUMENTS, EXTREMES, FLOATS, NUMBERS, OPTIONS, pick

TEXT = (".cfg", ".json", ".csv", ".nhdr", ".mhd", "SHA256SUMS", ".md", ".nrrd", ".mha")  # the last two: their headers
HEADER = 1500  # bytes at the beginning of a file where headers are
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55")


def damaged(content, name, rng):
    """What was done to the content of a file called `name`, and the content after that; one to three kinds of damage."""
    done = []
    for _ in range(pick([1, 1, 1, 2, 3], rng)):
        kinds = kinds_for(name, content)
        kind = pick(kinds, rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's, of what it is asked to write
                content = kind(content, rng)
        except Exception:  # the damage before it left nothing that this kind understands
            kind, content = cut, cut(content, rng)
        done.append(kind.__name__)
    return ", ".join(done), content


def kinds_for(name, content):
    """The kinds of damage that suit a file; those that understand it come as often as those that do not."""
    plain = [cut, flip, blank, fill, insert, remove, double, swap_pieces, exchange, prefix]
    if name.endswith(".nii"):
        return [*plain, field, field, field, field, field]
    if name.endswith(".gz"):
        return [*plain, repack, repack, repack, repack, repack, repack, bomb]
    if name.endswith(".npz"):
        return [*plain, repack_member, repack_member, repack_member, repack_member]
    if name.endswith(".h5"):
        return [*plain, *[tensor] * 8]
    if name.endswith(".json"):
        return [*plain, *[value] * 8, number, nest, encode]
    if name.endswith(TEXT):
        return [*plain, *[number] * 8, lines, lines, lines, nest, encode, line_ends]
    if content[128:132] == b"DICM":
        return [*plain, *[element] * 8, field]
    return [*plain, field, field]


def place(content, rng, most=None):
    """A place in the content, half of the time in its header."""
    end = min(len(content), most or len(content))
    return int(rng.integers(0, max(1, min(end, HEADER) if rng.random() < 0.5 else end)))


def piece(content, rng):
    start = place(content, rng)
    return start, start + int(rng.integers(1, pick([2, 9, 100, 5000], rng)))


# Bytes --------------------------------------------------------------------------------------------------------------------------


def cut(content, rng):
    return content[: place(content, rng)]


def flip(content, rng):
    changed = bytearray(content)
    for _ in range(pick([1, 1, 4, 30], rng) if content else 0):
        changed[place(content, rng)] ^= 1 << rng.integers(8)
    return bytes(changed)


def blank(content, rng):
    start, end = piece(content, rng)
    return content[:start] + bytes(len(content[start:end])) + content[end:]


def fill(content, rng):
    start, end = piece(content, rng)
    return content[:start] + b"\xff" * len(content[start:end]) + content[end:]


def insert(content, rng):
    start, end = piece(content, rng)
    return content[:start] + rng.bytes(end - start) + content[start:]


def remove(content, rng):
    start, end = piece(content, rng)
    return content[:start] + content[end:]


def double(content, rng):
    start, end = piece(content, rng)
    return content[:end] + content[start:]


def swap_pieces(content, rng):
    middle = place(content, rng)
    return content[middle:] + content[:middle]


def exchange(content, rng):
    """Something else altogether."""
    return pick(
        [b"", b"\0", b"\n", PNG, b"hello\n", b"{}", b"[]", b"\xef\xbb\xbf", rng.bytes(500), b"\x1f\x8b", b"a,b\n1,2\n"], rng
    )


def prefix(content, rng):
    return pick([b"\xef\xbb\xbf", b"\n", b"\0", b" ", b"#\n", rng.bytes(4)], rng) + content


def field(content, rng):
    """An extreme number in a field of a binary header."""
    kind = pick("hHiIqQfd", rng)
    if kind in "fd":
        number = pick(FLOATS, rng)
    else:
        bits = 8 * struct.calcsize(kind)
        number = int(pick(EXTREMES, rng)) & (2**bits - 1)
        kind = kind.upper()
    data = struct.pack(pick("<<<>", rng) + kind, number)
    start = place(content, rng, 400) // 2 * 2
    return content[:start] + data + content[start + len(data) :]


# Text ---------------------------------------------------------------------------------------------------------------------------


def number(content, rng):
    """Another number, or something that is none, in the place of a number of a text."""
    found = list(re.finditer(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", content[: 20 * HEADER]))
    chosen = pick(found, rng)
    return content[: chosen.start()] + pick(NUMBERS, rng).encode() + content[chosen.end() :]


def lines(content, rng):
    """A line left out, said twice, put elsewhere, or without its end."""
    parts = content.splitlines(keepends=True)
    chosen = int(rng.integers(min(len(parts), 40)))
    line = parts[chosen]
    match rng.integers(5):
        case 0:
            parts.pop(chosen)
        case 1:
            parts.insert(chosen, line)
        case 2:
            parts.append(parts.pop(chosen))
        case 3:
            parts[chosen] = line.rstrip(b"\r\n")
        case 4:
            parts[chosen] = line[: int(rng.integers(len(line) + 1))] + line * 1000
    return b"".join(parts)


def encode(content, rng):
    text = content.decode("utf-8", "replace") + "\u00e9"
    return text.encode(pick(["utf-16", "utf-32", "utf-8-sig", "latin-1", "cp1252", "utf-7"], rng), "replace")


def line_ends(content, rng):
    return content.replace(b"\n", pick([b"\r\n", b"\r", b"\n\n", b"\0"], rng))


def nest(content, rng):
    """Brackets a hundred thousand deep."""
    bracket = pick([b"[", b"{", b"(", b'{"a":', b'"'], rng)
    start = place(content, rng)
    return content[:start] + bracket * 100_000 + content[start:]


# What packed files hold ---------------------------------------------------------------------------------------------------------


def repack(content, rng):
    """Damage behind a checksum that is right."""
    inner = gzip.decompress(content)
    return gzip.compress(damaged(inner, ".nii" if rng.random() < 0.8 else "", rng)[1], 1, mtime=0)


def bomb(content, rng):
    """Far more data than there should be, in a small file."""
    return gzip.compress(gzip.decompress(content) + bytes(int(pick([1, 2**20, 2**27], rng))), 1, mtime=0)


def repack_member(content, rng):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = pick(list(members), rng)
    match rng.integers(4):
        case 0:
            members.pop(chosen)
        case 1:
            members[pick(["x.npy", "0000.npy", "state.npy", "../x"], rng)] = members[chosen]
        case 2:
            members[chosen] = members[pick(list(members), rng)]
        case _:
            name = ".json" if chosen == "state.npy" else ""
            start = members[chosen].index(b"\n") + 1
            members[chosen] = members[chosen][:start] + damaged(members[chosen][start:], name, rng)[1]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


# Files and arguments ------------------------------------------------------------------------------------------------------------


def exchanged(path, others, rng):
    """Put something else where the file `path` is: nothing, a folder, a link, or another of the files `others`; say what."""
    path.unlink()
    what = pick(
        ["nothing", "folder", "link to nowhere", "link to itself", "link to its folder", "another file", "another file"], rng
    )
    match what:
        case "folder":
            path.mkdir()
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "link to itself":
            path.symlink_to(path.name)
        case "link to its folder":
            path.symlink_to(".")
        case "another file":
            other = pick(others, rng)
            path.write_bytes(other.read_bytes() if other.is_file() else b"")
    return what


def argued(arguments, rng):
    """Other arguments of a command: one changed, left out, said twice or put elsewhere, or one more."""
    changed = list(arguments)
    for _ in range(pick([1, 1, 1, 1, 2, 3], rng)):
        values = [i for i, argument in enumerate(changed) if not argument.startswith("-")]
        chosen = pick(values, rng) if values else 0
        match rng.integers(15) if values else 14:
            case 0:
                changed.pop(chosen)
            case 1:
                changed.insert(chosen, changed[chosen])
            case 2:
                changed.append(changed.pop(chosen))
            case 3:
                changed[chosen] = changed[chosen][: int(rng.integers(len(changed[chosen]) + 1))]
            case 4 | 5 | 6 | 7 | 8 | 9 | 10 if "=" in changed[chosen]:
                changed[chosen] = changed[chosen].partition("=")[0] + "=" + pick(ARGUMENTS, rng)
            case 4 | 5 | 6 | 7 | 8 | 9 | 10:
                changed[chosen] = pick(ARGUMENTS, rng)
            case 11:
                changed[chosen : chosen + 1] = [pick(ARGUMENTS, rng) for _ in range(2)]
            case _:
                changed += [pick(OPTIONS, rng), pick(ARGUMENTS, rng)][: int(rng.integers(1, 3))]
    return [argument.replace("\0", "0") for argument in changed]  # no operating system passes a NUL
